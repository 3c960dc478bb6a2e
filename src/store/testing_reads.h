/* What the tests of reading mailboxes share. */
#ifndef STORE_TESTING_READS_H
#define STORE_TESTING_READS_H

#include <stdio.h>
#include <stdlib.h>

#include "store/query.h"
#include "store/testing.h"

static inline int set_up(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, 7);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    *state = b;
    return 0;
}

static inline int tear_down(void **state)
{
    bench_done(*state);
    free(*state);
    return 0;
}

static inline void reopen(struct bench *b)
{
    bench_close(b);
    assert_int_equal(bench_open(b), BRANT_OK);
}

static inline uint64_t account(struct bench *b, const char *address)
{
    uint64_t id = 0;

    assert_int_equal(bench_account_add(b, address, &id), BRANT_OK);
    return id;
}

static inline void deliver(struct bench *b, const char *address, size_t count)
{
    static uint32_t number;

    for (size_t i = 0; i < count; i++) {
        struct store_rcpt rcpts[1] = {{.address = span_str(address)}};
        struct span none = SPAN_NONE;
        char structure[32];
        struct store_op op = {.kind = STORE_OP_COMMIT,
                              .commit = {.prefixes = &none,
                                         .prefix_count = 1,
                                         .rcpts = rcpts,
                                         .rcpt_count = 1,
                                         .body = bench_body(b, SPAN_LIT("Subject: x\r\n\r\nx\r\n"))}};

        number++;
        memcpy(op.commit.id, &number, sizeof number);
        op.commit.id[15] = 9;
        (void)snprintf(structure, sizeof structure, "structure %u", number);
        op.commit.structure = span_str(structure);
        assert_int_equal(bench_run(b, &op), BRANT_OK);
    }
}

/* Over a range of UIDs, in as many operations as it takes. */
static inline void change(struct bench *b, enum store_op_kind kind, uint64_t account, uint32_t first,
                          uint32_t last, uint8_t action, uint64_t flags)
{
    struct store_range range = {first, last};

    while (range.first && range.first <= range.last) {
        struct store_op op = {
            .kind = kind,
            .change = {
                .account = account, .ranges = &range, .range_count = 1, .action = action, .flags = flags}};

        assert_int_equal(bench_run(b, &op), BRANT_OK);
        range.first = op.change.done_to + 1;
    }
}

static inline uint64_t gone_floor(struct bench *b, uint64_t account)
{
    return dir_mailbox(&b->st->dir, dir_account(&b->st->dir, account)->inbox)->gone_floor;
}

static inline void retain(struct bench *b, int64_t ms)
{
    b->config.gone_retention_ms = b->st->config.gone_retention_ms = ms;
}

#endif
