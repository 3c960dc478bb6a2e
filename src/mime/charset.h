/* Any charset of mail to UTF-8, as a stream. Bytes that mean nothing become U+FFFD; nothing is refused.
 *
 * Labels are read as mail uses them, not as registries define them: a label stands for the largest set that
 * programs send under it. gb2312 and gbk mean GB18030; ks_c_5601-1987 and euc-kr mean code page 949 (with
 * the eight-byte Hangul of KS X 1001); iso-8859-1 means windows-1252 (the C1 controls are never meant),
 * iso-8859-9 windows-1254, shift_jis windows-31j, us-ascii UTF-8. Converters are ICU's, whose data is in the
 * library, so they work in an empty chroot; Johab and JIS X 0213 have tables here. */
#ifndef MIME_CHARSET_H
#define MIME_CHARSET_H

#include "base/buf.h"

struct mime_charset;

/* BRANT_ENOTFOUND: nobody knows that label. */
int mime_charset_open(struct span label, struct mime_charset **ret);
void mime_charset_close(struct mime_charset *c); /* NULL is fine */

/* Appends UTF-8 to out; at most 6 bytes of output come from one byte of input (and 16 held back before it).
 * BRANT_ELIMIT: out is full; the converter must not be used further. */
int mime_charset_feed(struct mime_charset *c, struct span in, struct buf *out);
int mime_charset_finish(struct mime_charset *c, struct buf *out); /* an unfinished character becomes U+FFFD */

/* All at once. BRANT_ENOTFOUND with out unchanged, BRANT_ELIMIT with part of the text appended. */
int mime_charset_to_utf8(struct span label, struct span in, struct buf *out);

/* Appends `in` with every byte that is no UTF-8 replaced by U+FFFD. BRANT_ELIMIT. */
int mime_utf8_repair(struct span in, struct buf *out);

#endif
