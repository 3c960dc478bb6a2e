#include "sasl/server.h"

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"

/* How one mechanism takes response number x->step, from 0. */
struct mechanism {
    const char *name;
    enum sasl_mechanism bit;
    const char *prompt; /* the challenge to a client that began without a response */
    enum sasl_event_type (*take)(struct sasl_server *x, struct span response, struct sasl_event *ret);
};

/* RFC 4616 2: UTF-8 without NUL. */
static bool is_text(struct span s, size_t min, size_t max)
{
    return s.len >= min && s.len <= max && span_find_byte(s, 0) == SPAN_NPOS && codec_utf8_valid(s);
}

static enum sasl_event_type password(struct sasl_event *ret)
{
    if (!is_text(ret->authzid, 0, SASL_NAME_BYTES_MAX) || !is_text(ret->user, 1, SASL_NAME_BYTES_MAX) ||
        !is_text(ret->password, 1, SASL_PASSWORD_BYTES_MAX))
        return SASL_MALFORMED;
    return SASL_PASSWORD;
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd. */
static enum sasl_event_type take_plain(struct sasl_server *x, struct span response, struct sasl_event *ret)
{
    size_t first = span_find_byte(response, 0);
    struct span rest = first == SPAN_NPOS ? SPAN_NONE : span_from(response, first + 1);
    size_t second = span_find_byte(rest, 0);

    (void)x;
    if (second == SPAN_NPOS)
        return SASL_MALFORMED;
    ret->authzid = span_sub(response, 0, first);
    ret->user = span_sub(rest, 0, second);
    ret->password = span_from(rest, second + 1); /* a third NUL is found there */
    return password(ret);
}

static enum sasl_event_type take_login(struct sasl_server *x, struct span response, struct sasl_event *ret)
{
    if (x->step > 0) {
        ret->user = span_make(x->user, x->user_len);
        ret->password = response;
        return password(ret);
    }
    if (!is_text(response, 1, SASL_NAME_BYTES_MAX))
        return SASL_MALFORMED;
    memcpy(x->user, response.p, response.len);
    x->user_len = response.len;
    ret->challenge = SPAN_LIT("Password:");
    return SASL_CHALLENGE;
}

/* RFC 5802 5: client-first, client-final, and what acknowledges the server-final. */
static enum sasl_event_type take_scram(struct sasl_server *x, struct span response, struct sasl_event *ret)
{
    if (x->step == 2)
        return response.len == 0 ? SASL_FINISHED : SASL_MALFORMED;
    if (response.len == 0)
        return SASL_MALFORMED;
    ret->message = response;
    return x->step == 0 ? SASL_SCRAM_FIRST : SASL_SCRAM_FINAL;
}

/* RFC 4422 appendix A.2: the authorization identity, or nothing. */
static enum sasl_event_type take_external(struct sasl_server *x, struct span response, struct sasl_event *ret)
{
    (void)x;
    ret->authzid = response;
    return is_text(response, 0, SASL_NAME_BYTES_MAX) ? SASL_EXTERNAL : SASL_MALFORMED;
}

static const struct mechanism MECHANISMS[] = {
    {"SCRAM-SHA-256-PLUS", SASL_MECHANISM_SCRAM_SHA_256_PLUS, "", take_scram},
    {"SCRAM-SHA-256", SASL_MECHANISM_SCRAM_SHA_256, "", take_scram},
    {"PLAIN", SASL_MECHANISM_PLAIN, "", take_plain},
    {"LOGIN", SASL_MECHANISM_LOGIN, "Username:", take_login},
    {"EXTERNAL", SASL_MECHANISM_EXTERNAL, "", take_external},
};
enum { MECHANISM_COUNT = sizeof MECHANISMS / sizeof *MECHANISMS };

static const struct mechanism *find(enum sasl_mechanism bit)
{
    for (size_t i = 0; i < MECHANISM_COUNT; i++)
        if (MECHANISMS[i].bit == bit)
            return &MECHANISMS[i];
    return NULL;
}

const char *sasl_mechanism_name(enum sasl_mechanism mechanism)
{
    const struct mechanism *m = find(mechanism);

    return m ? m->name : "";
}

const char *sasl_mechanisms_text(unsigned set, char text[SASL_MECHANISMS_TEXT_MAX])
{
    size_t at = 0;

    for (size_t i = 0; i < MECHANISM_COUNT; i++) {
        size_t len = strlen(MECHANISMS[i].name);

        if (!(set & MECHANISMS[i].bit))
            continue;
        if (at > 0)
            text[at++] = ' ';
        memcpy(text + at, MECHANISMS[i].name, len);
        at += len;
    }
    text[at] = '\0';
    return text;
}

int sasl_server_begin(struct sasl_server *x, struct span mechanism, unsigned offered)
{
    sasl_server_end(x);
    for (size_t i = 0; i < MECHANISM_COUNT; i++) {
        if (offered & MECHANISMS[i].bit && span_eq_str_nocase(mechanism, MECHANISMS[i].name)) {
            x->mechanism = MECHANISMS[i].bit;
            return BRANT_OK;
        }
    }
    return BRANT_ENOTFOUND;
}

enum sasl_event_type sasl_server_step(struct sasl_server *x, bool has_response, struct span response,
                                      struct sasl_event *ret)
{
    const struct mechanism *m = find(x->mechanism);
    enum sasl_event_type type = SASL_MALFORMED;
    bool ended = !m || x->over || (x->begun && !has_response);

    *ret = (struct sasl_event){0};
    x->begun = true;
    if (!ended && !has_response) {
        type = SASL_CHALLENGE;
        ret->challenge = span_str(m->prompt);
    } else if (!ended && response.len <= SASL_MESSAGE_BYTES_MAX) {
        type = m->take(x, response, ret);
        x->step++;
    }
    if (type == SASL_MALFORMED)
        *ret = (struct sasl_event){0};
    x->over = type != SASL_CHALLENGE && type != SASL_SCRAM_FIRST && type != SASL_SCRAM_FINAL;
    ret->type = type;
    return type;
}

void sasl_server_end(struct sasl_server *x)
{
    mem_wipe(x, sizeof *x);
}
