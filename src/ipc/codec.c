#include "ipc/messages.h"

#include "base/err.h"
#include "base/wire.h"
#include "ipc/frame.h"

/* The sticky error of a writer or reader, set to BRANT_ELIMIT when a value is over its maximum. */
static void limit(int *err, uint64_t value, uint64_t max)
{
    if (max && value > max && !*err)
        *err = BRANT_ELIMIT;
}

static void put_addr(struct wire_writer *w, const struct ip_addr *a)
{
    wire_put_u8(w, a->family);
    wire_put_u16(w, a->port);
    wire_put_bytes(w, span_make(a->bytes, sizeof a->bytes));
}

static void get_addr(struct wire_reader *r, struct ip_addr *ret)
{
    struct span bytes;

    ret->family = wire_get_u8(r);
    if (ret->family != IP_NONE && ret->family != IP_V4 && ret->family != IP_V6 && !r->err)
        r->err = BRANT_ESYNTAX;
    ret->port = wire_get_u16(r);
    bytes = wire_get_bytes(r, sizeof ret->bytes);
    if (bytes.len)
        memcpy(ret->bytes, bytes.p, sizeof ret->bytes);
}

static void get_id(struct wire_reader *r, struct ipc_id *ret)
{
    struct span bytes = wire_get_bytes(r, sizeof ret->b);

    if (bytes.len)
        memcpy(ret->b, bytes.p, sizeof ret->b);
}

/* Room for the items of a list. Every item takes at least one byte on the wire, so a count that the rest of
 * the frame can't hold is refused before anything is allocated. */
static void *list_room(struct wire_reader *r, struct arena *arena, uint32_t count, uint32_t max, size_t size)
{
    void *items;

    limit(&r->err, count, max);
    if (count > r->in.len && !r->err)
        r->err = BRANT_ESYNTAX;
    if (r->err || count == 0)
        return NULL;
    items = arena_array(arena, count, size);
    if (!items)
        r->err = BRANT_ELIMIT;
    return items;
}

#define PUT_U8(name, max, item)   \
    limit(&w->err, m->name, max); \
    wire_put_u8(w, m->name);
#define PUT_U16(name, max, item)  \
    limit(&w->err, m->name, max); \
    wire_put_u16(w, m->name);
#define PUT_U32(name, max, item)  \
    limit(&w->err, m->name, max); \
    wire_put_u32(w, m->name);
#define PUT_U64(name, max, item)  \
    limit(&w->err, m->name, max); \
    wire_put_u64(w, m->name);
#define PUT_ID(name, max, item)   wire_put_bytes(w, span_make(m->name.b, sizeof m->name.b));
#define PUT_ADDR(name, max, item) put_addr(w, &m->name);
#define PUT_BYTES(name, max, item)    \
    limit(&w->err, m->name.len, max); \
    wire_put_span(w, m->name);
#define PUT_LIST(name, max, item)                             \
    limit(&w->err, m->name##_count, max);                     \
    wire_put_u32(w, m->name##_count);                         \
    for (uint32_t i = 0; i < m->name##_count && !w->err; i++) \
        put_##item(w, &m->name[i]);
#define PUT(kind, name, max, item) PUT_##kind(name, max, item)

#define GET_U8(name, max, item) \
    m->name = wire_get_u8(r);   \
    limit(&r->err, m->name, max);
#define GET_U16(name, max, item) \
    m->name = wire_get_u16(r);   \
    limit(&r->err, m->name, max);
#define GET_U32(name, max, item) \
    m->name = wire_get_u32(r);   \
    limit(&r->err, m->name, max);
#define GET_U64(name, max, item) \
    m->name = wire_get_u64(r);   \
    limit(&r->err, m->name, max);
#define GET_ID(name, max, item)    get_id(r, &m->name);
#define GET_ADDR(name, max, item)  get_addr(r, &m->name);
#define GET_BYTES(name, max, item) m->name = wire_get_span(r, max);
#define GET_LIST(name, max, item)                                                            \
    m->name##_count = wire_get_u32(r);                                                       \
    {                                                                                        \
        struct ipc_##item *items = list_room(r, arena, m->name##_count, max, sizeof *items); \
                                                                                             \
        for (uint32_t i = 0; items && i < m->name##_count && !r->err; i++)                   \
            get_##item(r, arena, &items[i]);                                                 \
        m->name = items;                                                                     \
    }
#define GET(kind, name, max, item) GET_##kind(name, max, item)

#define CODEC(name)                                                                          \
    static void put_##name(struct wire_writer *w, const struct ipc_##name *m)                \
    {                                                                                        \
        IPC_FIELDS_##name(PUT)                                                               \
    }                                                                                        \
    static void get_##name(struct wire_reader *r, struct arena *arena, struct ipc_##name *m) \
    {                                                                                        \
        (void)arena;                                                                         \
        IPC_FIELDS_##name(GET)                                                               \
    }
IPC_ITEMS(CODEC)
#define MESSAGE_CODEC(number, NAME, name, from, to, answer) CODEC(name)
IPC_MESSAGES(MESSAGE_CODEC)

static int put_message(struct wire_writer *w, const struct ipc_message *m)
{
    switch (m->type) {
#define CASE(number, NAME, name, from, to, answer) \
    case number:                                   \
        put_##name(w, &m->name);                   \
        return w->err;
        IPC_MESSAGES(CASE)
#undef CASE
    default:
        return BRANT_ESYNTAX;
    }
}

static int get_message(struct wire_reader *r, struct arena *arena, struct ipc_message *m)
{
    switch (m->type) {
#define CASE(number, NAME, name, from, to, answer) \
    case number:                                   \
        get_##name(r, arena, &m->name);            \
        return wire_get_end(r);
        IPC_MESSAGES(CASE)
#undef CASE
    default:
        return BRANT_ESYNTAX;
    }
}

int ipc_encode(struct buf *out, const struct ipc_message *m)
{
    size_t start = out->len;
    struct wire_writer w = wire_write(out);
    int rc;

    wire_put_u32(&w, 0);
    wire_put_u16(&w, m->type);
    wire_put_u16(&w, IPC_VERSION);
    wire_put_u32(&w, m->tag);
    rc = put_message(&w, m);
    if (!rc && out->len - start > IPC_FRAME_MAX)
        rc = BRANT_ELIMIT;
    if (rc) {
        out->len = start;
        return rc;
    }
    wire_patch_u32(&w, start, (uint32_t)(out->len - start));
    return BRANT_OK;
}

int ipc_decode(struct span frame, struct arena *arena, struct ipc_message *ret)
{
    struct wire_reader r = wire_read(frame);
    struct ipc_message m = {0};
    int rc;

    if (wire_get_u32(&r) != frame.len)
        return BRANT_ESYNTAX;
    m.type = wire_get_u16(&r);
    if (wire_get_u16(&r) != IPC_VERSION)
        return BRANT_ESYNTAX;
    m.tag = wire_get_u32(&r);
    if (r.err)
        return r.err;
    rc = get_message(&r, arena, &m);
    if (rc)
        return rc;
    *ret = m;
    return BRANT_OK;
}

bool ipc_permitted(uint16_t type, enum ipc_role from, enum ipc_role to)
{
    switch (type) {
#define CASE(number, NAME, name, from_set, to_set, answer) \
    case number:                                           \
        return (from_set) >> from & (to_set) >> to & 1u;
        IPC_MESSAGES(CASE)
#undef CASE
    default:
        return false;
    }
}

bool ipc_is_secret(uint16_t type)
{
    switch (type) {
    case IPC_TYPE_LOGIN:
    case IPC_TYPE_LOGIN_RESULT:
    case IPC_TYPE_RESUME:
    case IPC_TYPE_TOKEN_KEY:
    case IPC_TYPE_ACCOUNT_ADD:
    case IPC_TYPE_ACCOUNT_SET:
    case IPC_TYPE_GRANT_ADDED:
        return true;
    default:
        return false;
    }
}

bool ipc_may_be_secret(enum ipc_role from, enum ipc_role to)
{
#define CHECK(number, NAME, name, from_set, to_set, answer)       \
    if (ipc_is_secret(number) && ipc_permitted(number, from, to)) \
        return true;
    IPC_MESSAGES(CHECK)
#undef CHECK
    return false;
}

enum ipc_type ipc_answer(uint16_t type)
{
    switch (type) {
#define CASE(number, NAME, name, from, to, answer) \
    case number:                                   \
        return IPC_TYPE_##answer;
        IPC_MESSAGES(CASE)
#undef CASE
    default:
        return IPC_TYPE_NONE;
    }
}

const char *ipc_type_name(uint16_t type)
{
    switch (type) {
#define CASE(number, NAME, name, from, to, answer) \
    case number:                                   \
        return #name;
        IPC_MESSAGES(CASE)
#undef CASE
    default:
        return "unknown";
    }
}

const char *ipc_role_name(enum ipc_role role)
{
    static const char *const names[IPC_ROLE_COUNT] = {"supervisor", "store",  "smtp", "pop3",
                                                      "submission", "signer", "imap", "cli"};

    return (unsigned)role < IPC_ROLE_COUNT ? names[role] : "unknown";
}

const char *ipc_service_name(uint8_t service)
{
    static const char *const names[IPC_SERVICE_COUNT] = {
        [IPC_SERVICE_SMTP] = "smtp",
        [IPC_SERVICE_POP3] = "pop3",
        [IPC_SERVICE_SUBMISSION] = "submission",
        [IPC_SERVICE_SUBMISSIONS] = "submissions",
        [IPC_SERVICE_SUBMISSION_LOCAL] = "submission-socket",
        [IPC_SERVICE_POP3S] = "pop3s",
        [IPC_SERVICE_LMTP] = "lmtp",
        [IPC_SERVICE_LMTP_LOCAL] = "lmtp-socket",
        [IPC_SERVICE_IMAP] = "imap",
        [IPC_SERVICE_IMAPS] = "imaps",
    };

    return service < IPC_SERVICE_COUNT && names[service] ? names[service] : "unknown";
}

const char *ipc_mechanism_name(uint8_t mechanism)
{
    static const char *const names[IPC_MECHANISM_COUNT] = {
        [IPC_MECHANISM_NONE] = "none",
        [IPC_MECHANISM_PASSWORD] = "USER",
        [IPC_MECHANISM_PLAIN] = "PLAIN",
        [IPC_MECHANISM_LOGIN] = "LOGIN",
        [IPC_MECHANISM_SCRAM_SHA_256] = "SCRAM-SHA-256",
        [IPC_MECHANISM_SCRAM_SHA_256_PLUS] = "SCRAM-SHA-256-PLUS",
        [IPC_MECHANISM_EXTERNAL] = "EXTERNAL",
    };

    return mechanism < IPC_MECHANISM_COUNT ? names[mechanism] : "unknown";
}

const char *ipc_status_text(uint8_t status)
{
    static const char *const texts[IPC_STATUS_COUNT] = {
        [IPC_OK] = "ok",
        [IPC_UNKNOWN_ADDRESS] = "no such address here",
        [IPC_NOT_LOCAL] = "not one of our domains",
        [IPC_OVER_QUOTA] = "over quota",
        [IPC_NO_SPACE] = "no disk space",
        [IPC_TRY_LATER] = "try again later",
        [IPC_TOO_MANY] = "too many connections",
        [IPC_AUTH_FAILED] = "wrong name or password",
        [IPC_IN_USE] = "in use by another session",
        [IPC_NOT_FOUND] = "not found",
        [IPC_EXISTS] = "exists already",
        [IPC_INVALID] = "invalid request",
        [IPC_REFUSED] = "refused",
        [IPC_WEAK] = "another mechanism is needed",
        [IPC_EXPIRED] = "the password has expired",
        [IPC_DAMAGED] = "stored data is damaged",
        [IPC_FAILED] = "internal failure",
    };

    return status < IPC_STATUS_COUNT ? texts[status] : "unknown status";
}
