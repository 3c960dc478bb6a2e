#include "sasl/scram.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"

/* ---- the grammar of RFC 5802 7 --------------------------------------------------------------------------
 */

/* Takes what stands before the next comma, and the comma. False: there is none. */
static bool take_to_comma(struct span *s, struct span *ret)
{
    size_t comma = span_find_byte(*s, ',');

    if (comma == SPAN_NPOS)
        return false;
    *ret = span_sub(*s, 0, comma);
    *s = span_from(*s, comma + 1);
    return true;
}

/* Takes the next attribute, "a=value", up to a comma or the end. False: malformed. */
static bool take_attribute(struct span *s, uint8_t *ret_name, struct span *ret_value)
{
    struct span one = span_sub(*s, 0, span_find_byte(*s, ','));

    if (one.len < 2 || !ascii_is_alpha(one.p[0]) || one.p[1] != '=')
        return false;
    *s = span_from(*s, one.len);
    *ret_name = one.p[0];
    *ret_value = span_from(one, 2);
    return true;
}

/* Any attributes behind a comma each, to the end: extensions, which may be ignored unless mandatory. `stop`:
 * a name that ends them, left in place with its comma taken; 0: none. */
static enum scram_error skip_extensions(struct span *s, uint8_t stop)
{
    while (s->len) {
        struct span before, value;
        uint8_t name;

        *s = span_from(*s, 1); /* the comma */
        before = *s;
        if (!take_attribute(s, &name, &value))
            return SCRAM_INVALID_ENCODING;
        if (name == stop) {
            *s = before;
            return SCRAM_OK;
        }
        if (name == 'm')
            return SCRAM_EXTENSIONS_NOT_SUPPORTED;
        if (value.len == 0)
            return SCRAM_INVALID_ENCODING;
    }
    return stop ? SCRAM_INVALID_ENCODING : SCRAM_OK;
}

/* 1*(%x21-2B / %x2D-7E) */
static bool is_nonce(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || s.p[i] == ',')
            return false;
    return s.len > 0 && s.len <= SCRAM_NONCE_BYTES_MAX;
}

/* cb-name = 1*(ALPHA / DIGIT / "." / "-") */
static bool is_binding_name(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
            return false;
    return s.len > 0;
}

int scram_name_decode(struct span name, struct buf *out)
{
    size_t start = out->len;
    int rc = BRANT_OK;

    for (size_t i = 0; i < name.len && !rc; i++) {
        uint8_t c = name.p[i];

        if (c == '=') {
            struct span code = span_sub(name, i + 1, 2);

            if (span_eq_str(code, "2C"))
                c = ',';
            else if (!span_eq_str(code, "3D"))
                rc = BRANT_ESYNTAX;
            i += 2;
        } else if (c == ',' || c == 0) {
            rc = BRANT_ESYNTAX;
        }
        if (!rc)
            rc = buf_append_byte(out, c);
    }
    if (!rc && !codec_utf8_valid(span_from(buf_span(out), start)))
        rc = BRANT_ESYNTAX;
    if (rc)
        out->len = start;
    return rc;
}

static bool is_name(struct span name)
{
    _cleanup_buf_ struct buf decoded;

    buf_init(&decoded, SCRAM_NAME_BYTES_MAX);
    return name.len > 0 && scram_name_decode(name, &decoded) == BRANT_OK;
}

/* ---- client-first ---------------------------------------------------------------------------------------
 */

/* gs2-cbind-flag "," [authzid] "," */
static enum scram_error take_gs2_header(struct span *s, struct scram_client_first *f)
{
    struct span whole = *s, flag, authzid;

    if (!take_to_comma(s, &flag) || !take_to_comma(s, &authzid))
        return SCRAM_INVALID_ENCODING;
    if (span_eq_str(flag, "n")) {
        f->flag = SCRAM_BINDING_NONE;
    } else if (span_eq_str(flag, "y")) {
        f->flag = SCRAM_BINDING_UNUSED;
    } else if (span_starts(flag, SPAN_LIT("p=")) && is_binding_name(span_from(flag, 2))) {
        f->flag = SCRAM_BINDING_REQUIRED;
        f->binding_name = span_from(flag, 2);
    } else {
        return SCRAM_INVALID_ENCODING;
    }
    if (authzid.len) {
        if (!span_starts(authzid, SPAN_LIT("a=")))
            return SCRAM_INVALID_ENCODING;
        f->authzid = span_from(authzid, 2);
        if (!is_name(f->authzid))
            return SCRAM_INVALID_USERNAME_ENCODING;
    }
    f->gs2_header = span_sub(whole, 0, whole.len - s->len);
    return SCRAM_OK;
}

/* [reserved-mext ","] username "," nonce ["," extensions] */
static enum scram_error take_first_bare(struct span s, struct scram_client_first *f)
{
    uint8_t name;

    f->bare = s;
    if (!take_attribute(&s, &name, &f->user))
        return SCRAM_INVALID_ENCODING;
    if (name == 'm')
        return SCRAM_EXTENSIONS_NOT_SUPPORTED;
    if (name != 'n' || s.len == 0)
        return SCRAM_INVALID_ENCODING;
    if (!is_name(f->user))
        return SCRAM_INVALID_USERNAME_ENCODING;
    s = span_from(s, 1);
    if (!take_attribute(&s, &name, &f->nonce) || name != 'r' || !is_nonce(f->nonce))
        return SCRAM_INVALID_ENCODING;
    return skip_extensions(&s, 0);
}

enum scram_error scram_client_first_parse(struct span message, struct scram_client_first *ret)
{
    struct scram_client_first f = {0};
    enum scram_error rc;

    if (message.len > SCRAM_MESSAGE_BYTES_MAX || !codec_utf8_valid(message) ||
        span_find_byte(message, 0) != SPAN_NPOS)
        return SCRAM_INVALID_ENCODING;
    rc = take_gs2_header(&message, &f);
    if (rc == SCRAM_OK)
        rc = take_first_bare(message, &f);
    if (rc == SCRAM_OK)
        *ret = f;
    return rc;
}

enum scram_error scram_binding_check(const struct scram_client_first *first, bool plus, bool plus_offered,
                                     bool supported)
{
    if (first->flag == SCRAM_BINDING_REQUIRED) {
        if (!plus)
            return SCRAM_CHANNEL_BINDING_NOT_SUPPORTED;
        return supported ? SCRAM_OK : SCRAM_UNSUPPORTED_CHANNEL_BINDING_TYPE;
    }
    if (plus) /* a -PLUS mechanism is chosen in order to bind */
        return SCRAM_CHANNEL_BINDINGS_DONT_MATCH;
    if (first->flag == SCRAM_BINDING_UNUSED && plus_offered)
        return SCRAM_SERVER_DOES_SUPPORT_CHANNEL_BINDING;
    return SCRAM_OK;
}

/* ---- client-final ---------------------------------------------------------------------------------------
 */

/* Strict base64 of at most `max` bytes into `out`; returns the length, or SPAN_NPOS. */
static size_t decode(struct span base64, uint8_t *out, size_t max)
{
    _cleanup_buf_ struct buf b;

    buf_init_secret(&b, max);
    if (codec_base64_decode(&b, base64) || b.len == 0)
        return SPAN_NPOS;
    memcpy(out, b.data, b.len);
    return b.len;
}

static bool is_base64(struct span s)
{
    uint8_t ignored[SCRAM_MESSAGE_BYTES_MAX];

    return decode(s, ignored, sizeof ignored) != SPAN_NPOS;
}

/* channel-binding "," nonce ["," extensions] "," proof */
enum scram_error scram_client_final_parse(struct span message, struct scram_client_final *ret)
{
    struct scram_client_final f = {0};
    struct span s = message, proof;
    enum scram_error rc;
    uint8_t name, bytes[SCRAM_MESSAGE_BYTES_MAX];
    size_t len;

    if (message.len > SCRAM_MESSAGE_BYTES_MAX || !codec_utf8_valid(message) ||
        span_find_byte(message, 0) != SPAN_NPOS)
        return SCRAM_INVALID_ENCODING;
    if (!take_attribute(&s, &name, &f.binding))
        return SCRAM_INVALID_ENCODING;
    if (name == 'm')
        return SCRAM_EXTENSIONS_NOT_SUPPORTED;
    if (name != 'c' || !is_base64(f.binding) || s.len == 0)
        return SCRAM_INVALID_ENCODING;
    s = span_from(s, 1);
    if (!take_attribute(&s, &name, &f.nonce) || name != 'r' || !is_nonce(f.nonce))
        return SCRAM_INVALID_ENCODING;
    rc = skip_extensions(&s, 'p');
    if (rc != SCRAM_OK)
        return rc;
    f.without_proof = span_sub(message, 0, message.len - s.len - 1);
    if (!take_attribute(&s, &name, &proof) || s.len)
        return SCRAM_INVALID_ENCODING;
    len = decode(proof, bytes, sizeof bytes);
    if (len == SPAN_NPOS)
        return SCRAM_INVALID_ENCODING;
    if (len != SCRAM_PROOF_BYTES)
        return SCRAM_INVALID_PROOF;
    memcpy(f.proof, bytes, SCRAM_PROOF_BYTES);
    *ret = f;
    return SCRAM_OK;
}

bool scram_nonce_matches(const struct scram_client_final *final, struct span client_nonce,
                         struct span server_nonce)
{
    return server_nonce.len > 0 && span_starts(final->nonce, client_nonce) &&
           span_eq(span_from(final->nonce, client_nonce.len), server_nonce);
}

bool scram_binding_matches(const struct scram_client_final *final, struct span gs2_header, struct span data)
{
    _cleanup_buf_ struct buf expected;
    _cleanup_buf_ struct buf text;

    buf_init(&expected, SCRAM_MESSAGE_BYTES_MAX + SCRAM_BINDING_DATA_MAX);
    buf_init(&text, 2 * SCRAM_MESSAGE_BYTES_MAX);
    buf_append(&expected, gs2_header);
    buf_append(&expected, data);
    if (expected.overflowed || codec_base64_encode(&text, buf_span(&expected)))
        return false;
    return span_eq(final->binding, buf_span(&text)); /* strict base64 has one form only */
}

/* ---- what the server says -------------------------------------------------------------------------------
 */

static int sticky_end(struct buf *out, size_t start, bool before)
{
    if (out->overflowed) {
        out->len = start;
        return BRANT_ELIMIT;
    }
    out->overflowed = before;
    return BRANT_OK;
}

int scram_server_first_compose(struct buf *out, struct span client_nonce, struct span server_nonce,
                               struct span salt, uint32_t iterations)
{
    size_t start = out->len;
    bool before = out->overflowed;

    out->overflowed = false;
    buf_append_str(out, "r=");
    buf_append(out, client_nonce);
    buf_append(out, server_nonce);
    buf_append_str(out, ",s=");
    codec_base64_encode(out, salt);
    buf_append_str(out, ",i=");
    buf_append_u64(out, iterations);
    return sticky_end(out, start, before);
}

int scram_auth_message_compose(struct buf *out, struct span client_first_bare, struct span server_first,
                               struct span client_final_without_proof)
{
    size_t start = out->len;
    bool before = out->overflowed;

    out->overflowed = false;
    buf_append(out, client_first_bare);
    buf_append_byte(out, ',');
    buf_append(out, server_first);
    buf_append_byte(out, ',');
    buf_append(out, client_final_without_proof);
    return sticky_end(out, start, before);
}

int scram_server_final_compose(struct buf *out, struct span signature)
{
    size_t start = out->len;
    bool before = out->overflowed;

    out->overflowed = false;
    buf_append_str(out, "v=");
    codec_base64_encode(out, signature);
    return sticky_end(out, start, before);
}

int scram_error_compose(struct buf *out, enum scram_error error)
{
    size_t start = out->len;
    bool before = out->overflowed;

    out->overflowed = false;
    buf_append_str(out, "e=");
    buf_append_str(out, scram_error_text(error));
    return sticky_end(out, start, before);
}

const char *scram_error_text(enum scram_error error)
{
    static const char *const texts[SCRAM_ERROR_COUNT] = {
        [SCRAM_OK] = "",
        [SCRAM_INVALID_ENCODING] = "invalid-encoding",
        [SCRAM_EXTENSIONS_NOT_SUPPORTED] = "extensions-not-supported",
        [SCRAM_INVALID_PROOF] = "invalid-proof",
        [SCRAM_CHANNEL_BINDINGS_DONT_MATCH] = "channel-bindings-dont-match",
        [SCRAM_SERVER_DOES_SUPPORT_CHANNEL_BINDING] = "server-does-support-channel-binding",
        [SCRAM_CHANNEL_BINDING_NOT_SUPPORTED] = "channel-binding-not-supported",
        [SCRAM_UNSUPPORTED_CHANNEL_BINDING_TYPE] = "unsupported-channel-binding-type",
        [SCRAM_UNKNOWN_USER] = "unknown-user",
        [SCRAM_INVALID_USERNAME_ENCODING] = "invalid-username-encoding",
        [SCRAM_NO_RESOURCES] = "no-resources",
        [SCRAM_OTHER_ERROR] = "other-error",
    };

    return (unsigned)error < SCRAM_ERROR_COUNT ? texts[error] : "other-error";
}
