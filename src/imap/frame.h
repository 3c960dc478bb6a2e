/* Where a command begins and ends: bytes in, whole commands out, with their literals (RFC 3501 4.3, RFC
 * 7888).
 *
 * Knows only what decides where a command ends: lines end with CRLF; a line that ends with "{n}" or "{n+}"
 * outside a quoted string goes on behind n octets. Whether such a literal is wanted is for the caller to say,
 * who may also take the octets as they pass (the message of APPEND) instead of having them gathered.
 * The outcome does not depend on how the bytes are split. */
#ifndef IMAP_FRAME_H
#define IMAP_FRAME_H

#include "base/buf.h"

enum imap_frame_event {
    IMAP_FRAME_MORE,    /* the input is used up, nothing is complete */
    IMAP_FRAME_COMMAND, /* imap_frame_text is a whole command; imap_frame_next_command when it is done with */
    IMAP_FRAME_LITERAL, /* a literal is announced at the end of imap_frame_text; answer with
                           imap_frame_literal_keep, _pass or _refuse */
    IMAP_FRAME_BYTES,   /* the next bytes of a literal that passes */
    IMAP_FRAME_PASSED,  /* that was all of it; the text is empty again, the line goes on */
    IMAP_FRAME_LONG,    /* the command is over the bound and thrown away up to its end; comes once, and then
                           IMAP_FRAME_COMMAND, with what was kept of it: the beginning */
    IMAP_FRAME_BARE,    /* a CR or LF of its own: the end */
    IMAP_FRAME_ENDLESS  /* what is thrown away has no end: the end */
};

enum imap_frame_phase {
    IMAP_FRAME_LINE,
    IMAP_FRAME_ANNOUNCED, /* LITERAL was said and is not answered */
    IMAP_FRAME_KEEP,      /* octets of a literal are gathered */
    IMAP_FRAME_PASS,
    IMAP_FRAME_SKIP, /* octets of a literal are thrown away */
    IMAP_FRAME_WHOLE,
    IMAP_FRAME_BROKEN
};

struct imap_frame {
    struct buf text;
    size_t max;        /* bytes of a command, literals that are kept included */
    uint64_t skip_max; /* bytes of one command that are thrown away */
    enum imap_frame_phase phase;
    enum imap_frame_event broken;
    uint64_t octets;         /* left of the literal */
    uint64_t literal_octets; /* LITERAL: how long it will be; UINT64_MAX: longer than any number we read */
    bool literal_sync;       /* LITERAL: the client waits for "+" */
    bool literal8;           /* LITERAL: "~{" */
    uint64_t skipped;
    bool plain;    /* no literals: the lines of AUTHENTICATE and IDLE */
    bool skipping; /* nothing is gathered any more */
    bool last_cr;
    bool quoted, escaped;
    /* the end of the line so far: "{", digits, "+", "}" */
    uint8_t brace; /* 0 outside; 1 behind "{"; 2 digits; 3 "+"; 4 "}" */
    bool brace_sync, brace8, tilde;
    uint64_t brace_number;
};

void imap_frame_init(struct imap_frame *f, size_t max, uint64_t skip_max, bool secret);
void imap_frame_done(struct imap_frame *f);

/* Takes bytes from the front of *in. BYTES: *ret points into the caller's input. */
enum imap_frame_event imap_frame_feed(struct imap_frame *f, struct span *in, struct span *ret);

/* The command, or what there is of it: literals in place, without the last CRLF. */
struct span imap_frame_text(const struct imap_frame *f);
/* LITERAL: it can be kept within the bound. */
bool imap_frame_literal_fits(const struct imap_frame *f);

void imap_frame_literal_keep(struct imap_frame *f); /* one that fits */
void imap_frame_literal_pass(struct imap_frame *f); /* the text before it is done with */
/* Nothing more of this command is kept. The literal's octets are thrown away if they come unasked for; the
 * client of one it must wait with sends none, so its line is over: COMMAND follows at once. */
void imap_frame_literal_refuse(struct imap_frame *f);

void imap_frame_next_command(struct imap_frame *f); /* forgets the text, keeps some of the memory */

#endif
