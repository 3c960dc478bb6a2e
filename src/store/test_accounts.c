/* What an account has beside its address: options, SCRAM keys, grants; and whose address it may use. */
#include <stdio.h>
#include <stdlib.h>

#include "store/testing.h"

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, 1);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", NULL), BRANT_OK);
    assert_int_equal(bench_account_add(b, "bob@brant.test", NULL), BRANT_OK);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_done(*state);
    free(*state);
    return 0;
}

static void reopen(struct bench *b)
{
    bench_close(b);
    assert_int_equal(bench_open(b), BRANT_OK);
}

static struct store_account_info info_of(struct bench *b, const char *address)
{
    struct store_account_info info;

    assert_int_equal(store_account_find(b->st, span_str(address), &info), BRANT_OK);
    return info;
}

static int set(struct bench *b, struct store_account change)
{
    struct store_op op = {.kind = STORE_OP_ACCOUNT_SET, .account = change};

    op.account.address = SPAN_LIT("alice@brant.test");
    return bench_run(b, &op);
}

static int grant(struct bench *b, enum store_op_kind kind, const char *address, uint8_t what,
                 const char *name, struct span data)
{
    struct store_op op = {
        .kind = kind,
        .grant = {
            .address = span_str(address),
            .grant = {.kind = what, .name = span_str(name), .protocols = 5, .expires_ms = 99, .data = data}}};

    return bench_run(b, &op);
}

static struct store_scram keys(uint8_t of)
{
    struct store_scram s = {.iterations = 4096};

    memset(s.stored_key, of, sizeof s.stored_key);
    memset(s.server_key, of + 1, sizeof s.server_key);
    return s;
}

static void scram(void **state)
{
    struct bench *b = *state;
    struct store_account_info first = info_of(b, "alice@brant.test"), now;
    struct store_op add = {.kind = STORE_OP_ACCOUNT_ADD,
                           .account = {.address = SPAN_LIT("carol@brant.test"), .set = STORE_SET_SCRAM}};

    assert_int_equal(first.scram.iterations, 0);
    now = info_of(b, "bob@brant.test");
    assert_memory_not_equal(first.scram.salt, now.scram.salt, sizeof now.scram.salt);
    assert_int_equal(set(b, (struct store_account){.set = STORE_SET_SCRAM, .scram = keys(1)}), BRANT_OK);
    for (int round = 0; round < 2; round++) {
        now = info_of(b, "alice@brant.test");
        assert_memory_equal(first.scram.salt, now.scram.salt, sizeof now.scram.salt);
        assert_int_equal(now.scram.iterations, 4096);
        assert_int_equal(now.scram.stored_key[31], 1);
        assert_int_equal(now.scram.server_key[31], 2);
        reopen(b);
    }
    /* What does not concern it leaves it alone. */
    assert_int_equal(set(b, (struct store_account){.set = STORE_SET_QUOTA, .quota_bytes = 7}), BRANT_OK);
    now = info_of(b, "alice@brant.test");
    assert_int_equal(now.scram.server_key[0], 2);
    /* A new password without keys of its own ends the old ones. */
    assert_int_equal(set(b, (struct store_account){.set = STORE_SET_VERIFIER, .verifier = SPAN_LIT("v")}),
                     BRANT_OK);
    now = info_of(b, "alice@brant.test");
    assert_int_equal(now.scram.iterations, 0);
    assert_int_equal(now.scram.stored_key[0], 0);
    assert_memory_equal(first.scram.salt, now.scram.salt, sizeof now.scram.salt);
    add.account.scram = keys(7);
    memset(add.account.scram.salt, 9, sizeof add.account.scram.salt);
    assert_int_equal(bench_run(b, &add), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
    now = info_of(b, "carol@brant.test");
    assert_memory_equal(now.scram.salt, add.account.scram.salt, sizeof now.scram.salt);
    assert_int_equal(now.scram.stored_key[0], 7);
}

static void verifier_upgrade(void **state)
{
    struct bench *b = *state;
    struct store_account upgrade = {.set = STORE_SET_VERIFIER | STORE_SET_SCRAM | STORE_SET_IF_VERIFIER,
                                    .verifier = SPAN_LIT("new"),
                                    .expected = SPAN_LIT("old"),
                                    .scram = keys(3)};

    assert_int_equal(set(b, upgrade), BRANT_ESTATE);
    assert_int_equal(set(b, (struct store_account){.set = STORE_SET_VERIFIER, .verifier = SPAN_LIT("old")}),
                     BRANT_OK);
    assert_int_equal(set(b, upgrade), BRANT_OK);
    assert_int_equal(info_of(b, "alice@brant.test").verifier_len, 3);
    assert_int_equal(info_of(b, "alice@brant.test").scram.iterations, 4096);
    assert_int_equal(set(b, upgrade), BRANT_ESTATE);
}

static void options(void **state)
{
    struct bench *b = *state;
    struct store_account both = {.set = STORE_SET_OPTIONS,
                                 .options = STORE_ACCOUNT_ADMIN | STORE_ACCOUNT_SENT_COPY,
                                 .option_mask = STORE_ACCOUNT_ADMIN | STORE_ACCOUNT_SENT_COPY},
                         off = {.set = STORE_SET_OPTIONS, .option_mask = STORE_ACCOUNT_ADMIN};

    assert_int_equal(info_of(b, "alice@brant.test").options, STORE_ACCOUNT_ENABLED);
    assert_int_equal(set(b, both), BRANT_OK);
    assert_int_equal(info_of(b, "alice@brant.test").options,
                     STORE_ACCOUNT_ENABLED | STORE_ACCOUNT_ADMIN | STORE_ACCOUNT_SENT_COPY);
    assert_int_equal(set(b, off), BRANT_OK);
    reopen(b);
    assert_int_equal(info_of(b, "alice@brant.test").options, STORE_ACCOUNT_ENABLED | STORE_ACCOUNT_SENT_COPY);
}

static void check_grants(struct bench *b, uint64_t alice)
{
    struct store_grant *list;
    struct arena arena;
    size_t count;

    arena_init(&arena, 8192);
    assert_int_equal(store_grants_get(b->st, alice, 0, &arena, &list, &count), BRANT_OK);
    assert_int_equal(count, 4);
    assert_true(span_eq_str(list[0].name, "laptop"));
    assert_true(span_eq_str(list[1].name, "phone"));
    assert_true(span_eq_str(list[1].data, "keys"));
    assert_int_equal(list[1].protocols, 5);
    assert_int_equal(list[1].expires_ms, 99);
    assert_true(list[1].created_ms > 1700000000000);
    assert_int_equal(list[2].kind, STORE_GRANT_CERTIFICATE);
    assert_true(span_eq_str(list[3].name, "info@brant.test"));
    assert_int_equal(store_grants_get(b->st, alice, STORE_GRANT_CERTIFICATE, &arena, &list, &count),
                     BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(info_of(b, "alice@brant.test").grants, 4);
    arena_done(&arena);
    arena_init(&arena, 16);
    assert_int_equal(store_grants_get(b->st, alice, 0, &arena, &list, &count), BRANT_ELIMIT);
    assert_int_equal(store_grants_get(b->st, 12345, 0, &arena, &list, &count), BRANT_ENOTFOUND);
    arena_done(&arena);
}

static const char alice_at[] = "Alice@brant.test", bob_at[] = "bob@brant.test";

static void grants(void **state)
{
    struct bench *b = *state;
    uint8_t cert[32] = {1, 2, 3}, other[32] = {4};
    struct span cert_span = span_make(cert, sizeof cert);
    uint64_t alice = info_of(b, alice_at).account, found, expires;
    uint32_t protocols;

    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, "phone", SPAN_LIT("keys")), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, "laptop", SPAN_LIT("more")), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, "phone", SPAN_LIT("x")), BRANT_EEXISTS);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 2, "phone", cert_span), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, bob_at, 2, "mine", cert_span), BRANT_EEXISTS);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 3, "INFO@Brant.test", SPAN_NONE), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 3, "info@brant.test", SPAN_NONE), BRANT_EEXISTS);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, "x@brant.test", 1, "y", SPAN_LIT("x")), BRANT_ENOTFOUND);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, "", SPAN_LIT("x")), BRANT_ESYNTAX);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, "a\nb", SPAN_LIT("x")), BRANT_ESYNTAX);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 2, "short", SPAN_LIT("x")), BRANT_ESYNTAX);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 3, "nobody", SPAN_NONE), BRANT_ESYNTAX);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 4, "nothing", SPAN_NONE), BRANT_ESYNTAX);
    for (int round = 0; round < 3; round++) {
        check_grants(b, alice);
        assert_int_equal(store_account_by_certificate(b->st, cert, &found, &expires, &protocols), BRANT_OK);
        assert_int_equal(found, alice);
        assert_int_equal(expires, 99);
        assert_int_equal(protocols, 5);
        assert_int_equal(store_account_by_certificate(b->st, other, &found, &expires, &protocols),
                         BRANT_ENOTFOUND);
        if (round == 0)
            reopen(b);
        store_compact(b->st, true);
        bench_settle(b);
        assert_true(bench_same_after_rebuild(b, true));
    }
    assert_int_equal(grant(b, STORE_OP_GRANT_REMOVE, alice_at, 2, "phone", SPAN_NONE), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_REMOVE, alice_at, 2, "phone", SPAN_NONE), BRANT_ENOTFOUND);
    assert_int_equal(grant(b, STORE_OP_GRANT_REMOVE, alice_at, 3, "Info@BRANT.test", SPAN_NONE), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, bob_at, 2, "mine", cert_span), BRANT_OK);
    reopen(b);
    assert_int_equal(info_of(b, alice_at).grants, 2);
    assert_int_equal(info_of(b, bob_at).grants, 1);
    assert_true(bench_same_after_rebuild(b, true));
}

static void grant_limit(void **state)
{
    struct bench *b = *state;
    char name[STORE_GRANT_NAME_MAX + 2], data[STORE_GRANT_DATA_MAX];

    memset(name, 'n', sizeof name);
    name[STORE_GRANT_NAME_MAX] = '\0';
    memset(data, 'd', sizeof data);
    for (int i = 0; i < STORE_GRANTS_MAX; i++) {
        name[0] = (char)('0' + i);
        assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, name, span_make(data, sizeof data)),
                         BRANT_OK);
    }
    name[0] = 'x' + 1;
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 1, name, SPAN_LIT("x")), BRANT_ELIMIT);
    reopen(b);
    assert_int_equal(info_of(b, alice_at).grants, STORE_GRANTS_MAX);
    assert_int_equal(grant(b, STORE_OP_GRANT_REMOVE, alice_at, 1, name, SPAN_NONE), BRANT_ENOTFOUND);
    name[0] = '0';
    assert_int_equal(grant(b, STORE_OP_GRANT_REMOVE, alice_at, 1, name, SPAN_NONE), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
}

/* They go with the account, and its certificate is free again. */
static void grants_of_removed(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE, .account = {.address = span_str(alice_at)}};
    uint8_t cert[32] = {1};
    uint64_t found, expires;
    uint32_t protocols;

    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, alice_at, 2, "c", span_make(cert, 32)), BRANT_OK);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(store_account_by_certificate(b->st, cert, &found, &expires, &protocols),
                     BRANT_ENOTFOUND);
    assert_int_equal(bench_account_add(b, alice_at, NULL), BRANT_OK);
    assert_int_equal(info_of(b, alice_at).grants, 0);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, bob_at, 2, "c", span_make(cert, 32)), BRANT_OK);
    bench_settle(b);
    reopen(b);
    assert_int_equal(store_account_by_certificate(b->st, cert, &found, &expires, &protocols), BRANT_OK);
    assert_int_equal(found, info_of(b, bob_at).account);
    assert_true(bench_same_after_rebuild(b, true));
}

static int may(struct bench *b, uint64_t account, const char *address)
{
    return store_may_send_as(b->st, account, span_str(address));
}

static void send_as(void **state)
{
    struct bench *b = *state;
    uint64_t alice = info_of(b, alice_at).account, bob = info_of(b, bob_at).account;
    struct store_op timed = {.kind = STORE_OP_GRANT_ADD,
                             .grant = {.address = span_str(bob_at),
                                       .grant = {.kind = STORE_GRANT_SEND_AS,
                                                 .name = SPAN_LIT("once@else.test"),
                                                 .expires_ms = (uint64_t)b->now_ms + 1000}}};

    assert_int_equal(may(b, alice, "ALICE@brant.TEST"), BRANT_OK);
    assert_int_equal(may(b, alice, "alice+news@brant.test"), BRANT_OK);
    assert_int_equal(may(b, alice, "bob@brant.test"), BRANT_EREFUSED);
    assert_int_equal(may(b, alice, "alice@else.test"), BRANT_EREFUSED);
    assert_int_equal(may(b, alice, "nonsense"), BRANT_EREFUSED);
    assert_int_equal(may(b, alice, ""), BRANT_EREFUSED);
    assert_int_equal(may(b, 77, "alice@brant.test"), BRANT_ENOTFOUND);
    assert_int_equal(may(b, bob, "who@brant.test"), BRANT_EREFUSED);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "sales@brant.test", "alice@brant.test"), BRANT_OK);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "shop@brant.test", "sales@brant.test"), BRANT_OK);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "@brant.test", "bob@brant.test"), BRANT_OK);
    assert_int_equal(may(b, alice, "Shop+eu@brant.test"), BRANT_OK);
    assert_int_equal(may(b, bob, "shop@brant.test"), BRANT_EREFUSED);
    assert_int_equal(may(b, bob, "who@brant.test"), BRANT_OK);
    assert_int_equal(grant(b, STORE_OP_GRANT_ADD, bob_at, 3, "@else.test", SPAN_NONE), BRANT_OK);
    assert_int_equal(may(b, bob, "any@else.test"), BRANT_EREFUSED); /* expired long ago */
    assert_int_equal(bench_run(b, &timed), BRANT_OK);
    assert_int_equal(may(b, bob, "Once@Else.test"), BRANT_OK);
    assert_int_equal(may(b, bob, "twice@else.test"), BRANT_EREFUSED);
    b->now_ms += 2000;
    assert_int_equal(may(b, bob, "once@else.test"), BRANT_EREFUSED);
    timed.grant.grant.name = SPAN_LIT("@third.test");
    timed.grant.grant.expires_ms = 0;
    assert_int_equal(bench_run(b, &timed), BRANT_OK);
    assert_int_equal(may(b, bob, "any@third.test"), BRANT_OK);
    assert_int_equal(may(b, bob, "any@sub.third.test"), BRANT_EREFUSED);
    assert_int_equal(may(b, alice, "any@third.test"), BRANT_EREFUSED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(scram),       T(verifier_upgrade),  T(options), T(grants),
        T(grant_limit), T(grants_of_removed), T(send_as),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
