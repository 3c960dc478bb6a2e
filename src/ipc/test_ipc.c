#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "ipc/frame.h"
#include "ipc/messages.h"

static const struct ipc_recipient RECIPIENTS[] = {
    {.address = {(const uint8_t *)"a@brant.test", 12}, .variant = 0},
    {.address = {(const uint8_t *)"\0\r\n", 3}, .variant = 1}};
static const struct ipc_variant VARIANTS[] = {{.prefix = {(const uint8_t *)"Received: x\r\n", 13}}};

static struct ipc_message sample(void)
{
    return (struct ipc_message){.type = IPC_TYPE_COMMIT,
                                .tag = 77,
                                .commit = {.commit = {{1, 2, 3}},
                                           .session = {{9}},
                                           .body = UINT64_MAX,
                                           .body_bytes = 5,
                                           .service = IPC_SERVICE_SMTP,
                                           .source = {.family = IP_V4, .port = 25, .bytes = {127, 0, 0, 1}},
                                           .helo = SPAN_LIT("client"),
                                           .recipients = RECIPIENTS,
                                           .recipients_count = 2,
                                           .variants = VARIANTS,
                                           .variants_count = 1}};
}

static void what_was_encoded_is_decoded(void **state)
{
    _cleanup_buf_ struct buf frame, again;
    _cleanup_arena_ struct arena arena;
    struct ipc_message m = sample(), got;

    (void)state;
    buf_init(&frame, IPC_FRAME_MAX);
    buf_init(&again, IPC_FRAME_MAX);
    arena_init(&arena, 65536);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    assert_int_equal(ipc_decode(buf_span(&frame), &arena, &got), BRANT_OK);
    assert_int_equal(got.tag, 77);
    assert_int_equal(got.commit.recipients_count, 2);
    assert_int_equal(got.commit.recipients[1].variant, 1);
    assert_true(span_eq(got.commit.recipients[1].address, SPAN_LIT("\0\r\n")));
    assert_int_equal(ipc_encode(&again, &got), BRANT_OK);
    assert_true(span_eq(buf_span(&frame), buf_span(&again)));
}

static void every_cut_and_every_extra_byte_is_refused(void **state)
{
    _cleanup_buf_ struct buf frame;
    struct ipc_message m = sample(), got;

    (void)state;
    buf_init(&frame, IPC_FRAME_MAX);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    for (size_t len = 0; len <= frame.len + 1; len++) {
        _cleanup_buf_ struct buf cut;
        _cleanup_arena_ struct arena arena;

        arena_init(&arena, 65536);
        buf_init(&cut, IPC_FRAME_MAX);
        if (len == frame.len)
            continue;
        buf_append(&cut, span_sub(buf_span(&frame), 0, len));
        if (len > frame.len)
            buf_append_byte(&cut, 0);
        for (size_t i = 0; i < 4 && i < cut.len; i++)
            cut.data[i] = (uint8_t)(cut.len >> (8 * i));
        assert_int_not_equal(ipc_decode(buf_span(&cut), &arena, &got), BRANT_OK);
    }
}

static void maxima_hold_in_both_directions(void **state)
{
    static uint8_t big[IPC_TEXT_MAX + 1];
    _cleanup_buf_ struct buf frame;
    _cleanup_arena_ struct arena arena;
    struct ipc_message got, m = {.type = IPC_TYPE_RESULT, .result = {.text = span_make(big, sizeof big)}};

    (void)state;
    buf_init(&frame, IPC_FRAME_MAX);
    arena_init(&arena, 65536);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_ELIMIT);
    assert_int_equal(frame.len, 0);
    m.result.text.len--;
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    frame.data[IPC_HEADER_BYTES] = IPC_STATUS_COUNT;
    assert_int_equal(ipc_decode(buf_span(&frame), &arena, &got), BRANT_ELIMIT);
    frame.data[IPC_HEADER_BYTES] = IPC_OK;
    assert_int_equal(ipc_decode(buf_span(&frame), &arena, &got), BRANT_OK);
    frame.data[6] ^= 1;
    assert_int_equal(ipc_decode(buf_span(&frame), &arena, &got), BRANT_ESYNTAX);
}

static void a_list_count_cannot_claim_memory(void **state)
{
    _cleanup_buf_ struct buf frame;
    _cleanup_arena_ struct arena arena;
    struct ipc_message got, m = {.type = IPC_TYPE_READY};

    (void)state;
    buf_init(&frame, IPC_FRAME_MAX);
    arena_init(&arena, 65536);
    assert_int_equal(ipc_encode(&frame, &m), BRANT_OK);
    frame.data[frame.len - 4] = 16; /* sixteen rungs, none of them there */
    assert_int_equal(ipc_decode(buf_span(&frame), &arena, &got), BRANT_ESYNTAX);
    assert_int_equal(arena.used, 0);
    frame.data[frame.len - 4] = 17;
    assert_int_equal(ipc_decode(buf_span(&frame), &arena, &got), BRANT_ELIMIT);
}

static void permissions_follow_the_table(void **state)
{
    (void)state;
    assert_true(ipc_permitted(IPC_TYPE_COMMIT, IPC_ROLE_SMTP, IPC_ROLE_STORE));
    assert_false(ipc_permitted(IPC_TYPE_COMMIT, IPC_ROLE_POP3, IPC_ROLE_STORE));
    assert_false(ipc_permitted(IPC_TYPE_COMMIT, IPC_ROLE_SMTP, IPC_ROLE_POP3));
    assert_false(ipc_permitted(IPC_TYPE_LOGIN, IPC_ROLE_SMTP, IPC_ROLE_STORE));
    assert_false(ipc_permitted(IPC_TYPE_ACCOUNT_ADD, IPC_ROLE_SMTP, IPC_ROLE_STORE));
    assert_false(ipc_permitted(IPC_TYPE_ACCOUNT_ADD, IPC_ROLE_POP3, IPC_ROLE_STORE));
    assert_true(ipc_permitted(IPC_TYPE_LOGIN, IPC_ROLE_SUBMISSION, IPC_ROLE_STORE));
    assert_false(ipc_permitted(IPC_TYPE_SENDER_CHECK, IPC_ROLE_SMTP, IPC_ROLE_STORE));
    assert_true(ipc_permitted(IPC_TYPE_SIGN, IPC_ROLE_POP3, IPC_ROLE_SIGNER));
    assert_false(ipc_permitted(IPC_TYPE_SIGN, IPC_ROLE_CLI, IPC_ROLE_SIGNER));
    assert_true(ipc_may_be_secret(IPC_ROLE_SUBMISSION, IPC_ROLE_STORE)); /* LOGIN */
    assert_true(ipc_may_be_secret(IPC_ROLE_STORE, IPC_ROLE_POP3));       /* LOGIN_RESULT: the token */
    assert_true(ipc_may_be_secret(IPC_ROLE_CLI, IPC_ROLE_STORE));
    assert_true(ipc_may_be_secret(IPC_ROLE_STORE, IPC_ROLE_CLI)); /* GRANT_ADDED */
    assert_false(ipc_may_be_secret(IPC_ROLE_SMTP, IPC_ROLE_STORE));
    assert_false(ipc_may_be_secret(IPC_ROLE_STORE, IPC_ROLE_SMTP));
    assert_false(ipc_permitted(IPC_TYPE_MAILDROP_OPEN, IPC_ROLE_SUBMISSION, IPC_ROLE_STORE));
    assert_false(ipc_permitted(IPC_TYPE_NONE, IPC_ROLE_SMTP, IPC_ROLE_STORE));
    assert_int_equal(ipc_answer(IPC_TYPE_RCPT_CHECK), IPC_TYPE_RCPT_VERDICT);
}

static void frames_are_cut_at_every_split(void **state)
{
    _cleanup_buf_ struct buf stream;
    struct ipc_message m = sample();
    size_t one;

    (void)state;
    buf_init(&stream, IPC_FRAME_MAX);
    assert_int_equal(ipc_encode(&stream, &m), BRANT_OK);
    one = stream.len;
    assert_int_equal(ipc_encode(&stream, &m), BRANT_OK);
    for (size_t split = 0; split <= stream.len; split++) {
        struct ipc_reader r;
        struct span frame;
        size_t frames = 0;

        ipc_reader_init(&r);
        assert_int_equal(ipc_reader_feed(&r, span_sub(buf_span(&stream), 0, split)), split);
        while (ipc_reader_next(&r, &frame) == BRANT_OK)
            frames += frame.len == one;
        assert_int_equal(frames, split / one);
        ipc_reader_feed(&r, span_from(buf_span(&stream), split));
        while (ipc_reader_next(&r, &frame) == BRANT_OK)
            frames += frame.len == one;
        assert_int_equal(frames, 2);
        ipc_reader_done(&r);
    }
}

static void bad_lengths_end_the_channel(void **state)
{
    static const struct {
        uint8_t bytes[4];
        int err;
    } cases[] = {{{11, 0, 0, 0}, BRANT_ESYNTAX},
                 {{0, 0, 0, 0}, BRANT_ESYNTAX},
                 {{1, 0, 16, 0}, BRANT_ELIMIT},
                 {{255, 255, 255, 255}, BRANT_ELIMIT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ipc_reader r;
        struct span frame;

        ipc_reader_init(&r);
        ipc_reader_feed(&r, span_make(cases[i].bytes, 4));
        assert_int_equal(ipc_reader_next(&r, &frame), cases[i].err);
        ipc_reader_done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_is_decoded),
        cmocka_unit_test(every_cut_and_every_extra_byte_is_refused),
        cmocka_unit_test(maxima_hold_in_both_directions),
        cmocka_unit_test(a_list_count_cannot_claim_memory),
        cmocka_unit_test(permissions_follow_the_table),
        cmocka_unit_test(frames_are_cut_at_every_split),
        cmocka_unit_test(bad_lengths_end_the_channel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
