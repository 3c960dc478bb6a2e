/* The beginning of a message's text for people who look at a list of messages (RFC 8970): white space made
 * one space, markup and quoted lines left out, at most 200 characters. A stream: text in, and after a while
 * no more is wanted. */
#ifndef IMAP_PREVIEW_H
#define IMAP_PREVIEW_H

#include "base/buf.h"

enum { IMAP_PREVIEW_CHARACTERS_MAX = 200, IMAP_PREVIEW_BYTES_MAX = 4 * IMAP_PREVIEW_CHARACTERS_MAX };

struct imap_preview {
    bool html;
    struct buf text; /* the result: UTF-8 */
    size_t characters;
    bool space_due; /* white space stood before what comes */
    bool line_start, quoted;
    /* HTML */
    uint8_t state;   /* text, tag, comment, entity */
    bool quote_open; /* in a tag: inside an attribute's value */
    uint8_t quote;
    uint8_t word_len; /* of the tag's name or the entity */
    char word[12];
    bool skip; /* inside <style>, <script>, <head>, <title> */
};

void imap_preview_init(struct imap_preview *p, bool html);
void imap_preview_done(struct imap_preview *p);
/* UTF-8, cut between characters. False: no more is wanted. */
bool imap_preview_feed(struct imap_preview *p, struct span utf8);

#endif
