/* The header section of a submitted message, checked and repaired (RFC 6409 6 and 8, RFC 5322 3.6, RFC 6532).
 * Only submission does this: mail from elsewhere is never changed.
 *
 *     h = msa_header_new(bytes_max);
 *     taken = msa_header_feed(h, bytes, &done);         until done, or the message ends
 *     msa_header_finish(h, &facts, &verdict);           refused? answer with the verdict
 *     while (msa_header_sender_next(h, &sender))
 *         msa_header_sender_answer(h, may the account use sender.address?);
 *     msa_header_compose(h, &out, &verdict);            refused? answer with the verdict
 *     send `out`, then the bytes of the message that msa_header_feed did not take
 *
 * What comes out ends with the empty line. What needed no repair stays byte for byte and in its order; fields
 * that were added stand in front. Running the output through again changes nothing.
 *
 * REFUSED (550 5.6.0, unless it says otherwise), with a reason that tells what to mend and repeats nothing of
 * the message but addresses that were found valid:
 *  - a header section over the maximum (552 5.3.4);
 *  - CR or LF alone, NUL or another control character but TAB; a line that is no field: no colon, white space
 *    or a non-ASCII character in the name or white space before the colon, a continuation at the very start;
 *  - a line over 998 octets (RFC 5322 2.1.1) without white space to fold it at;
 *  - two From fields, whatever is in them; two of another field that RFC 5322 3.6 or MIME allows once, unless
 *    their values are the same, byte by byte: then the later ones are removed;
 *  - From, Resent-From, Resent-Sender that are not a list of plain mailboxes (msa/mailbox.h has the grammar),
 *    in a way that two readers could read two addresses out of them;
 *  - a display name that hides control or direction-changing characters;
 *  - (550 5.7.1) an address in From or a Resent- originator that the account may not use. All of them are
 *    asked for, of all Resent- blocks; so is every address that a display name shows, because some readers
 *    show nothing else. A resent message keeps its From, so resending is for messages of one's own: a header
 *    field that anybody can write is no permission to use another's name;
 *  - (550 5.6.7) a non-ASCII address when the client did not declare SMTPUTF8.
 *
 * REPAIRED:
 *  - From is missing: the reverse-path, or for the null reverse-path the account's address.
 *  - Sender is missing and From has several mailboxes (RFC 5322 3.6.2): the account's address. Sender cannot
 *    be read, or is an address that the account may not use: replaced by the account's address, or removed
 *    when From is just that.
 *  - Date is missing or no date: the time of `facts`. Message-ID is missing, or not "<left@right>" of
 * printable characters: a random one.
 *  - Bcc, Resent-Bcc and Return-Path are removed. A message without any recipient field is fine.
 *  - Continuation lines of white space only are removed; lines over 998 octets are folded.
 *  - Without SMTPUTF8, valid UTF-8 in Subject and other texts and in the display names and comments of
 * address fields becomes encoded words (RFC 2047). In all other fields (unknown ones, parameters) it stays;
 * so do bytes that are no UTF-8, everywhere: old programs send their own charset, and readers guess it well.
 */
#ifndef MSA_HEADER_H
#define MSA_HEADER_H

#include "base/buf.h"

enum {
    MSA_SENDERS_MAX = 64,       /* different addresses to ask for; more are refused */
    MSA_ADDRESS_BYTES_MAX = 254 /* RFC 5321 4.5.3.1.3, without brackets */
};
/* Room that the repaired header section may need. */
#define MSA_OUTPUT_BYTES_MAX(bytes_max) (8 * (size_t)(bytes_max) + 4096)

struct msa_header;

struct msa_facts {
    struct span account;      /* address of the login, canonical */
    struct span reverse_path; /* canonical, known to be the account's; empty: the null reverse-path */
    struct span hostname;     /* for Message-ID */
    int64_t unix_s;
    int zone_min;       /* offset from UTC that Date shows */
    uint8_t random[16]; /* for Message-ID; fresh for each message */
    bool smtputf8;      /* MAIL had SMTPUTF8 */
};

/* A refusal, in the terms of an SMTP reply. */
struct msa_verdict {
    uint16_t code;   /* 550 or 552 */
    uint8_t subject; /* enhanced code: 5.subject.detail */
    uint16_t detail;
    const char *text; /* lives as long as the object; may hold UTF-8 of an address */
};

/* bytes_max: of the header section, with the empty line. */
struct msa_header *msa_header_new(size_t bytes_max);
void msa_header_free(struct msa_header *h); /* NULL is fine */

/* Takes bytes from the front of `in` and returns how many: all of them, or up to the end of the empty line,
 * or of the maximum; *ret_done is then true, and later calls take nothing. A message that ends before is all
 * header section. */
size_t msa_header_feed(struct msa_header *h, struct span in, bool *ret_done);

/* Once, after the feeding: checks everything but the addresses' owner. What the facts point to is copied.
 * BRANT_OK, or BRANT_EREFUSED with *ret. */
int msa_header_finish(struct msa_header *h, const struct msa_facts *facts, struct msa_verdict *ret);

/* Where an address stands; bits, since one may stand in several places. */
enum msa_place {
    MSA_PLACE_FROM = 1,
    MSA_PLACE_SENDER = 2,
    MSA_PLACE_RESENT = 4, /* Resent-From or Resent-Sender */
    MSA_PLACE_SHOWN = 8   /* in a display name or comment of From or a Resent- originator */
};
struct msa_sender {
    struct span address; /* local@domain: the domain in lower case (ASCII), the local part unquoted where it
                            can be; UTF-8 as it was written. Lives as long as the object. */
    unsigned places;     /* enum msa_place */
};
/* The next different address that has no answer yet; false when there is none. What a display name shows need
 * not be a valid mailbox, nor of any domain: then the answer is no. */
bool msa_header_sender_next(const struct msa_header *h, struct msa_sender *ret);
/* The answer for the one that msa_header_sender_next gives. */
void msa_header_sender_answer(struct msa_header *h, bool allowed);

/* Once, after the answers: appends the repaired header section.
 * BRANT_OK; BRANT_EREFUSED with *ret; BRANT_ELIMIT: `out` holds less than MSA_OUTPUT_BYTES_MAX more. Appends
 * nothing on failure. */
int msa_header_compose(struct msa_header *h, struct buf *out, struct msa_verdict *ret);

/* What was repaired, for the log; after msa_header_compose. Bits. */
enum msa_repair {
    MSA_ADDED_FROM = 1 << 0,
    MSA_ADDED_SENDER = 1 << 1,
    MSA_ADDED_DATE = 1 << 2,
    MSA_ADDED_MESSAGE_ID = 1 << 3,
    MSA_REMOVED_SENDER = 1 << 4, /* with MSA_ADDED_…: replaced */
    MSA_REMOVED_DATE = 1 << 5,
    MSA_REMOVED_MESSAGE_ID = 1 << 6,
    MSA_REMOVED_BCC = 1 << 7,
    MSA_REMOVED_RETURN_PATH = 1 << 8,
    MSA_REMOVED_DUPLICATE = 1 << 9,
    MSA_FOLDED = 1 << 10, /* long lines, or blank continuation lines */
    MSA_ENCODED = 1 << 11,
    MSA_REPAIR_ALL = (1 << 12) - 1
};
unsigned msa_header_repairs(const struct msa_header *h);
/* Appends "added-date,removed-bcc" for a set of repairs. BRANT_ELIMIT. */
int msa_repairs_text(unsigned repairs, struct buf *out);

#endif
