/* For tests: a message's header section through the engine, with a small world of owners behind it. */
#ifndef MSA_TESTING_H
#define MSA_TESTING_H

#include "base/err.h"
#include "msa/header.h"

/* alice@brant.test owns her address, one with a detail, and an alias; and names in another script. */
static inline bool testing_owns(struct span address)
{
    static const char *const owned[] = {"alice@brant.test", "alice+news@brant.test", "sales@brant.test",
                                        "a..b@brant.test",  "\"a..b\"@brant.test",   "爱丽丝@例子.test"};

    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (span_eq_str_nocase(address, owned[i]))
            return true;
    return false;
}

static inline struct msa_facts testing_facts(bool smtputf8)
{
    return (struct msa_facts){.account = SPAN_LIT("alice@brant.test"),
                              .reverse_path = SPAN_LIT("alice@brant.test"),
                              .hostname = SPAN_LIT("mx.brant.test"),
                              .unix_s = 1700000000, /* Tue, 14 Nov 2023 22:13:20 */
                              .random = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                              .smtputf8 = smtputf8};
}

/* Feeds `in` in pieces of `step` bytes; *ret_taken is what the header section took. */
static inline void testing_feed(struct msa_header *h, struct span in, size_t step, size_t *ret_taken)
{
    bool done = false;
    size_t taken = 0;

    while (taken < in.len && !done)
        taken += msa_header_feed(h, span_sub(in, taken, step), &done);
    *ret_taken = taken;
}

/* The whole way. BRANT_OK with the output and the repairs, or BRANT_EREFUSED with the verdict, whose text
 * lives as long as *h. */
static inline int testing_run(struct msa_header *h, struct span in, size_t step,
                              const struct msa_facts *facts, struct buf *out, struct msa_verdict *ret)
{
    struct msa_sender sender;
    size_t taken;
    int rc;

    testing_feed(h, in, step, &taken);
    rc = msa_header_finish(h, facts, ret);
    if (rc)
        return rc;
    while (msa_header_sender_next(h, &sender))
        msa_header_sender_answer(h, testing_owns(sender.address));
    return msa_header_compose(h, out, ret);
}

#endif
