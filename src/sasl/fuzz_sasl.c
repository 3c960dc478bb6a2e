/* Hostile responses to every mechanism, and SCRAM's messages.
 *
 * The first byte picks the mechanism and whether there is an initial response; the rest is the responses,
 * apart by LF. What SCRAM says is also taken apart and put together again. */
#include <assert.h>

#include "base/codec.h"
#include "base/err.h"
#include "sasl/scram.h"
#include "sasl/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct span part, struct span whole)
{
    return part.len == 0 || (part.p >= whole.p && part.p + part.len <= whole.p + whole.len);
}

static void check_text(struct span s, size_t min, size_t max)
{
    assert(s.len >= min && s.len <= max && codec_utf8_valid(s) && span_find_byte(s, 0) == SPAN_NPOS);
}

static void check_name(struct span saslname)
{
    _cleanup_buf_ struct buf out;

    buf_init(&out, SCRAM_NAME_BYTES_MAX);
    assert(scram_name_decode(saslname, &out) == BRANT_OK);
    check_text(buf_span(&out), 1, SCRAM_NAME_BYTES_MAX);
}

static void check_first(struct span message)
{
    struct scram_client_first f;
    _cleanup_buf_ struct buf out;

    buf_init(&out, SCRAM_MESSAGE_BYTES_MAX);
    if (scram_client_first_parse(message, &f) != SCRAM_OK)
        return;
    assert(inside(f.user, message) && inside(f.authzid, message) && inside(f.nonce, message));
    assert(f.gs2_header.p == message.p && f.gs2_header.len >= 3);
    assert(f.bare.p == message.p + f.gs2_header.len && f.bare.len + f.gs2_header.len == message.len);
    assert((f.flag == SCRAM_BINDING_REQUIRED) == (f.binding_name.len > 0));
    assert(f.nonce.len > 0 && f.nonce.len <= SCRAM_NONCE_BYTES_MAX);
    check_name(f.user);
    if (f.authzid.len)
        check_name(f.authzid);
    assert(scram_server_first_compose(&out, f.nonce, SPAN_LIT("nonce"), SPAN_LIT("salt"), 4096) == BRANT_OK);
}

static void check_final(struct span message)
{
    struct scram_client_final f;

    if (scram_client_final_parse(message, &f) != SCRAM_OK)
        return;
    assert(inside(f.binding, message) && inside(f.nonce, message));
    assert(f.without_proof.p == message.p && f.without_proof.len < message.len);
    assert(message.p[f.without_proof.len] == ',' && message.p[f.without_proof.len + 1] == 'p');
    scram_binding_matches(&f, SPAN_LIT("n,,"), SPAN_NONE);
    assert(
        scram_nonce_matches(&f, span_sub(f.nonce, 0, f.nonce.len - 1), span_from(f.nonce, f.nonce.len - 1)));
}

/* Returns whether the exchange goes on. */
static bool check_event(const struct sasl_event *e, struct span response)
{
    switch (e->type) {
    case SASL_CHALLENGE:
        return true;
    case SASL_PASSWORD:
        check_text(e->authzid, 0, SASL_NAME_BYTES_MAX);
        check_text(e->user, 1, SASL_NAME_BYTES_MAX);
        check_text(e->password, 1, SASL_PASSWORD_BYTES_MAX);
        return false;
    case SASL_EXTERNAL:
        check_text(e->authzid, 0, SASL_NAME_BYTES_MAX);
        return false;
    case SASL_SCRAM_FIRST:
    case SASL_SCRAM_FINAL:
        assert(span_eq(e->message, response) && response.len <= SASL_MESSAGE_BYTES_MAX);
        return true;
    case SASL_FINISHED:
        assert(response.len == 0);
        return false;
    case SASL_MALFORMED:
        break;
    }
    assert(e->user.len == 0 && e->password.len == 0 && e->authzid.len == 0 && e->message.len == 0);
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_make(data, size);
    struct sasl_server x = {0};
    struct sasl_event e;
    bool going_on;

    if (size == 0)
        return 0;
    rest = span_from(rest, 1);
    check_first(rest);
    check_final(rest);
    if (sasl_server_begin(&x, span_str(sasl_mechanism_name(1u << data[0] % 5)), SASL_MECHANISM_ALL))
        assert(0);
    going_on = !(data[0] & 0x80) || sasl_server_step(&x, false, SPAN_NONE, &e) == SASL_CHALLENGE;
    assert(going_on);
    for (int steps = 0; going_on && rest.len; steps++) {
        struct span response = span_sub(rest, 0, span_find_byte(rest, '\n'));

        rest = span_from(rest, response.len + 1);
        sasl_server_step(&x, true, response, &e);
        going_on = check_event(&e, response);
        assert(steps < 3);
    }
    if (!going_on)
        assert(sasl_server_step(&x, true, SPAN_NONE, &e) == SASL_MALFORMED);
    sasl_server_end(&x);
    return 0;
}
