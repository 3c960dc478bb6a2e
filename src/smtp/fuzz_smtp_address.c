/* Paths, mailboxes, parameters, xtext and the trace fields made of them. */
#include <assert.h>

#include "base/codec.h"
#include "base/err.h"
#include "smtp/param.h"
#include "smtp/received.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mailbox(const struct smtp_mailbox *m)
{
    uint8_t copy[SMTP_MAILBOX_BYTES_MAX];
    _cleanup_buf_ struct buf once, again;
    struct smtp_mailbox parsed;
    int rc;

    assert(m->local.len > 0 && m->local.len <= SMTP_LOCAL_BYTES_MAX);
    assert(m->domain.len > 0 && m->domain.len <= SMTP_DOMAIN_BYTES_MAX);
    buf_init(&once, SMTP_MAILBOX_BYTES_MAX);
    buf_init(&again, SMTP_MAILBOX_BYTES_MAX);
    rc = smtp_mailbox_normalise(m, &once);
    assert(rc == BRANT_OK);
    assert(once.len <= m->local.len + 1 + m->domain.len);
    assert(codec_utf8_valid(buf_span(&once)));
    memcpy(copy, once.data, once.len);
    rc = smtp_mailbox_parse(span_make(copy, once.len), &parsed);
    assert(rc == BRANT_OK && parsed.literal == m->literal && parsed.utf8 == m->utf8);
    rc = smtp_mailbox_normalise(&parsed, &again);
    assert(rc == BRANT_OK && span_eq(buf_span(&once), buf_span(&again)));
    (void)rc;
}

static void check_path(struct span in, enum smtp_path_use use)
{
    struct smtp_path path;
    struct span rest;

    if (smtp_path_parse(in, use, &path, &rest))
        return;
    assert(rest.len < in.len);
    if (path.kind == SMTP_PATH_MAILBOX)
        check_mailbox(&path.mailbox);
    smtp_param_check(rest);
}

/* One field, whatever went in: every line but the first is a continuation. */
static void check_field(struct span field)
{
    for (size_t i = 0; i < field.len; i++) {
        assert(field.p[i] != '\0');
        if (field.p[i] == '\r')
            assert(i + 1 < field.len && field.p[i + 1] == '\n' &&
                   (i + 2 == field.len || field.p[i + 2] == '\t'));
        if (field.p[i] == '\n')
            assert(i > 0 && field.p[i - 1] == '\r');
    }
}

static void check_trace(struct span in)
{
    struct smtp_received r = {.helo = in,
                              .rdns = in,
                              .hostname = "mx.brant.test",
                              .id = in,
                              .recipient = in,
                              .extended = true,
                              .smtputf8 = in.len % 2,
                              .client = {.family = IP_V4}};
    _cleanup_buf_ struct buf field;
    int rc;

    buf_init(&field, SMTP_RECEIVED_BYTES_MAX);
    rc = smtp_received_compose(&r, &field);
    assert(rc == BRANT_OK);
    (void)rc;
    check_field(buf_span(&field));
    buf_reset(&field);
    if (smtp_return_path_compose(in, &field) == BRANT_OK)
        check_field(buf_span(&field));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    struct smtp_mailbox m;
    _cleanup_buf_ struct buf text;

    check_path(in, SMTP_PATH_REVERSE);
    check_path(in, SMTP_PATH_FORWARD);
    if (smtp_mailbox_parse(in, &m) == BRANT_OK)
        check_mailbox(&m);
    smtp_param_check(in);
    buf_init(&text, size + 1);
    if (smtp_xtext_decode(in, &text) == BRANT_OK)
        assert(text.len <= size);
    check_trace(in);
    return 0;
}
