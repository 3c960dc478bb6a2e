/* A message explained for people (text) and programs (JSON).
 *
 * JSON, stable: members are only ever added.
 *   {"size": bytes, "lines": n, "truncated": bool,
 *    "headers": [FIELD…],                       the root header, in order
 *    "root": PART,
 *    "problems": [{"code": "bare-lf", "text": "…", "offset": n, "section": "1.2", "count": n}…]}
 * FIELD = {"name": as written, "value": decoded, "offset": n, and where the field has a form of its own
 *    "addresses": [{"name", "address"} | {"group", "addresses": [{"name", "address"}…]}…]
 *    "date": {"unix": seconds, "offset_minutes": n}
 *    "ids": [id…]}
 * PART = {"section": "1.2" (as IMAP counts, RFC 3501 6.4.5; "" for a root that is a multipart), "type":
 * "text", "subtype": "plain", "parameters": {name: value…}, "encoding": "base64", "disposition": {"type":
 * "attachment", "parameters": {…}} or null, "id", "description", "language", "location", "md5": when the part
 * has them, "offset": of the header, "header_size": bytes, "body_offset": n, "size": bytes of the body as
 * stored, "decoded_size": bytes after the transfer encoding, "lines": line ends in the body, "headers":
 * [FIELD…]                        not for the root, whose fields stand above "children": [PART…] of a
 * multipart, else empty "message": {"headers": [FIELD…], "root": PART} for message/rfc822 and message/global}
 * Types, subtypes, parameter names and encodings are in lower case; an encoding nobody knows is given as
 * written. "size" of the document is that of the file; offsets are bytes from its start. */
#ifndef MIME_EXPLAIN_H
#define MIME_EXPLAIN_H

#include "mime/parser.h"

/* `p` is finished and was fed exactly `message`. BRANT_ELIMIT: out is full (its contents are then cut). */
int mime_explain_json(struct mime_parser *p, struct span message, struct buf *out);
int mime_explain_text(struct mime_parser *p, struct span message, struct buf *out);

#endif
