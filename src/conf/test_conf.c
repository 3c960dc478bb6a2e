#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "conf/conf.h"

#define HEAD "hostname = mail.example.org\n"

/* The text must be refused with exactly these errors, one per line. */
static void refused(const char *text, const char *expected)
{
    struct conf c;
    struct conf_errors e;
    _cleanup_buf_ struct buf all;

    buf_init(&all, sizeof e);
    assert_int_equal(conf_parse(span_str(text), "brant.conf", &c, &e), BRANT_ESYNTAX);
    for (size_t i = 0; i < e.count; i++)
        buf_printf(&all, "%s\n", e.list[i].text);
    assert_string_equal(buf_cstr(&all), expected);
}

static void accepted(const char *text, struct conf *ret)
{
    struct conf_errors e;
    int rc = conf_parse(span_str(text), "brant.conf", ret, &e);

    if (rc != BRANT_OK)
        print_error("%s\n", e.list[0].text);
    assert_int_equal(rc, BRANT_OK);
    assert_int_equal(e.count, 0);
}

static void only_the_host_name_is_needed(void **state)
{
    struct conf c;

    (void)state;
    accepted("hostname = Mail.Example.ORG.", &c);
    assert_string_equal(c.hostname, "mail.example.org");
    assert_string_equal(c.data_dir, "/var/lib/brant");
    assert_int_equal(c.max_message_size_bytes, 50 << 20);
    assert_int_equal(c.pop3_idle_timeout_ms, 600000);
    assert_int_equal(c.listen_smtp.count, 2);
    assert_int_equal(c.listen_smtp.list[1].address.family, IP_V6);
    assert_int_equal(c.listen_smtp.list[1].address.port, 25);
    assert_int_equal(c.over_quota_reply, CONF_OVER_QUOTA_TEMPORARY);
    assert_string_equal(c.recipient_delimiter, "+");
    conf_done(&c);
    refused("", "brant.conf: hostname is missing; write for example hostname = mail.example.org\n");
}

static void every_type_is_read(void **state)
{
    struct conf c;

    (void)state;
    accepted("\xef\xbb\xbf# a comment\r\n"
             "  hostname=a.b   # another\r\n"
             "\t\r\n"
             "data_dir = \"/srv/my \\\"mail\\\" # here\"   # quoted\n"
             "max_message_size = 25MB\n"
             "quota_default = 0\n"
             "disk_reserve = 1 gib\n"
             "drain_time = 90 seconds\n"
             "smtp_timeout_data = 2m\n"
             "max_recipients = 500\n"
             "over_quota_reply = Permanent\n"
             "listen.smtp = 192.0.2.1:25, [2001:db8::1]:2525\n"
             "listen.smtp = 127.0.0.1:26\n"
             "listen.pop3 = none\n"
             "recipient_delimiter =\n"
             "log_file = /var/log/brant/\n",
             &c);
    assert_string_equal(c.hostname, "a.b");
    assert_string_equal(c.data_dir, "/srv/my \"mail\" # here");
    assert_int_equal(c.max_message_size_bytes, 25000000);
    assert_int_equal(c.quota_default_bytes, 0);
    assert_int_equal(c.disk_reserve_bytes, 1 << 30);
    assert_int_equal(c.drain_time_ms, 90000);
    assert_int_equal(c.smtp_timeout_data_ms, 120000);
    assert_int_equal(c.max_recipients, 500);
    assert_int_equal(c.over_quota_reply, CONF_OVER_QUOTA_PERMANENT);
    assert_int_equal(c.listen_smtp.count, 3);
    assert_int_equal(c.listen_smtp.list[1].address.port, 2525);
    assert_int_equal(c.listen_pop3.count, 0);
    assert_string_equal(c.recipient_delimiter, "");
    assert_string_equal(c.log_file, "/var/log/brant");
    conf_done(&c);
}

static void errors_say_where_what_and_what_would_be_right(void **state)
{
    (void)state;
    refused(HEAD "\nmax_message_size = 12 XB\n",
            "brant.conf:3: max_message_size = 12 XB: unknown unit \"XB\"; write for example 50 MiB; "
            "allowed is a size from 64 KiB to 1 GiB\n");
    refused(HEAD "max_message_size = 12\n",
            "brant.conf:2: max_message_size = 12: the unit is missing; write for example 50 MiB; "
            "allowed is a size from 64 KiB to 1 GiB\n");
    refused(
        HEAD "max_message_size = 1.5 GiB\n",
        "brant.conf:2: max_message_size = 1.5 GiB: not a whole number with a unit; write for example 50 MiB; "
        "allowed is a size from 64 KiB to 1 GiB\n");
    refused(HEAD "max_message_size = 99999999999999999999 TiB\n",
            "brant.conf:2: max_message_size = 99999999999999999999 TiB: too large; "
            "allowed is a size from 64 KiB to 1 GiB\n");
    refused(HEAD "smtp_timeout_data = 1 s\n",
            "brant.conf:2: smtp_timeout_data = 1 s: too small; allowed is a time from 10 s to 1 h\n");
    refused(
        HEAD "max_recipients = many\n",
        "brant.conf:2: max_recipients = many: not a whole number; allowed is a number from 100 to 1000\n");
    refused(HEAD "max_recipients = 99\n",
            "brant.conf:2: max_recipients = 99: too small; allowed is a number from 100 to 1000\n");
    refused(HEAD "over_quota_reply = maybe\n",
            "brant.conf:2: over_quota_reply = maybe: unknown choice; allowed is temporary or permanent\n");
    refused(HEAD "data_dir = var/lib\n",
            "brant.conf:2: data_dir = var/lib: does not begin with /; allowed is an absolute path\n");
    refused(HEAD "max_mesage_size = 1 MiB\n",
            "brant.conf:2: unknown key \"max_mesage_size\"; did you mean max_message_size?\n");
    refused(HEAD "Listen-SMTP = 1\n",
            "brant.conf:2: unknown key \"Listen-SMTP\"; did you mean listen.smtp?\n");
    refused(HEAD "colour = blue\n",
            "brant.conf:2: unknown key \"colour\"; `brant help config` lists all keys\n");
    refused(HEAD "drain_time = 1 s\ndrain_time = 2 s\n",
            "brant.conf:3: drain_time = 2 s: already set in line 2; keep one of the two\n");
    refused("hostname = mail\n",
            "brant.conf:1: hostname = mail: not a full host name; write for example mail.example.org, and "
            "names with other letters in their xn-- form\n");
    refused(HEAD "data_dir = \"/srv\n", "brant.conf:2: data_dir = \"/srv: wrong quotes; write \"text\", with "
                                        "\\\" for a quote and \\\\ for a backslash inside\n");
    refused(HEAD "what is this\n", "brant.conf:2: \"what is this\": there is no \"=\"; write key = value\n");
    refused(HEAD "[listener]\n", "brant.conf:2: \"[listener]\": there are no sections; write key = value\n");
    refused(
        HEAD "data_dir = /a\033[2J\n",
        "brant.conf:2: \"data_dir = /a\\x1b[2J\": a control character or broken UTF-8; write plain text\n");
}

static void addresses_need_a_port_and_brackets(void **state)
{
    (void)state;
    refused(HEAD "listen.smtp = 127.0.0.1\n", "brant.conf:2: listen.smtp = 127.0.0.1: the port is missing; "
                                              "write for example 127.0.0.1:25\n");
    refused(HEAD "listen.smtp = ::1\n",
            "brant.conf:2: listen.smtp = ::1: the port is missing; write for example [::1]:25\n");
    refused(HEAD "listen.smtp = 127.0.0.1:0\n",
            "brant.conf:2: listen.smtp = 127.0.0.1:0: not a port; allowed is a number from 1 to 65535\n");
    refused(HEAD "listen.smtp = *:25\n",
            "brant.conf:2: listen.smtp = *:25: not an address with a port; write "
            "for example 0.0.0.0:25 or [::]:25\n");
    refused(HEAD "listen.smtp = 1.2.3.4:25,\n",
            "brant.conf:2: listen.smtp = 1.2.3.4:25,: not an address with a "
            "port; write for example 0.0.0.0:25 or [::]:25\n");
    refused(HEAD "listen.smtp = 1.2.3.4:25\nlisten.smtp = 1.2.3.4:25\n",
            "brant.conf:3: listen.smtp = 1.2.3.4:25: 1.2.3.4:25 is there twice; leave one of them out\n");
}

static void keys_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    refused(
        HEAD "max_message_size = 1 GiB\n",
        "brant.conf:2: disk_reserve = 256 MiB is too small for max_message_size; write at least 1600 MiB\n");
    refused(
        HEAD "listen.pop3 = 0.0.0.0:25\n",
        "brant.conf:2: listen.pop3 = 0.0.0.0:25 is taken by listen.smtp; give one of them another port\n");
    refused(HEAD "max_connections = 10\n",
            "brant.conf:2: max_connections_per_source = 100 is more than max_connections = 10; make "
            "max_connections_per_source smaller or max_connections larger\n"
            "brant.conf:2: pop3_max_sessions = 1000 is more than max_connections = 10; make "
            "pop3_max_sessions smaller or max_connections larger\n"
            "brant.conf:2: imap_max_sessions = 2000 is more than max_connections = 10; make "
            "imap_max_sessions smaller or max_connections larger\n");
    refused(HEAD "max_message_size = 128 KiB\nmax_header_size = 1 MiB\n",
            "brant.conf:3: max_header_size = 1 MiB is more than max_message_size = 128 KiB; make "
            "max_header_size smaller or max_message_size larger\n");
    refused(HEAD "recipient_delimiter = @\n",
            "brant.conf:2: recipient_delimiter = @: cannot separate a detail; write for example + or -\n");
    refused(HEAD "uid_base = 65530\n",
            "brant.conf:2: uid_base = 65530: the 16 ids from here on contain 65534 "
            "(nobody) or 65535; write for example 60600\n");
}

static void all_errors_are_seen_at_once_up_to_a_bound(void **state)
{
    _cleanup_buf_ struct buf text;
    struct conf_errors e;
    struct conf c;

    (void)state;
    buf_init(&text, 4096);
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "nonsense%d\n", i);
    assert_int_equal(conf_parse(buf_span(&text), "f", &c, &e), BRANT_ESYNTAX);
    assert_int_equal(e.count, CONF_ERRORS_MAX);
    assert_int_equal(e.more, 30 + 1 - CONF_ERRORS_MAX);
    assert_int_equal(e.list[19].line, 20);
}

static void a_value_in_an_error_stays_on_its_line(void **state)
{
    static uint8_t huge[100000];
    struct conf_errors e;
    struct conf c;

    (void)state;
    memset(huge, 0xff, sizeof huge);
    memcpy(huge, "data_dir = ", 11);
    assert_int_equal(conf_parse(span_make(huge, sizeof huge), "f", &c, &e), BRANT_ESYNTAX);
    for (size_t i = 0; i < e.count; i++) {
        assert_true(strlen(e.list[i].text) < CONF_ERROR_LEN);
        assert_null(strchr(e.list[i].text, '\n'));
        assert_true(codec_utf8_valid(span_str(e.list[i].text)));
    }
}

static void dumps_parse_to_themselves(struct conf *c)
{
    _cleanup_buf_ struct buf first, second;
    struct conf_errors e;
    struct conf again;

    buf_init(&first, CONF_TEXT_MAX);
    buf_init(&second, CONF_TEXT_MAX);
    assert_int_equal(conf_dump(c, &first), BRANT_OK);
    assert_int_equal(conf_parse(buf_span(&first), "dump", &again, &e), BRANT_OK);
    assert_int_equal(conf_dump(&again, &second), BRANT_OK);
    assert_string_equal(buf_cstr(&first), buf_cstr(&second));
    conf_done(&again);
}

static void the_dump_parses_to_itself(void **state)
{
    struct conf c;

    (void)state;
    accepted(HEAD, &c);
    dumps_parse_to_themselves(&c);
    conf_done(&c);
    accepted(HEAD "data_dir = \"/a \\\" \\\\ # b\"\nrecipient_delimiter = \"#\"\nlisten.smtp = none\n"
                  "quota_default = 1500 MB\ndrain_time = 61 s\nlisten.pop3 = [::1]:110, 127.0.0.1:110\n",
             &c);
    assert_string_equal(c.data_dir, "/a \" \\ # b");
    dumps_parse_to_themselves(&c);
    conf_done(&c);
}

static void a_reload_names_what_needs_a_restart(void **state)
{
    _cleanup_buf_ struct buf keys;
    struct conf a, b;

    (void)state;
    buf_init(&keys, 4096);
    accepted(HEAD, &a);
    accepted("hostname = other.example.org\nuid_base = 70000\nmax_recipients = 200\n", &b);
    assert_int_equal(conf_restart_keys(&a, &b, &keys), BRANT_OK);
    assert_string_equal(buf_cstr(&keys), "hostname, uid_base");
    assert_int_equal(conf_keep_restart_keys(&a, &b), BRANT_OK);
    buf_reset(&keys);
    assert_int_equal(conf_restart_keys(&a, &b, &keys), BRANT_OK);
    assert_int_equal(keys.len, 0);
    assert_string_equal(b.hostname, a.hostname);
    assert_ptr_not_equal(b.hostname, a.hostname);
    assert_int_equal(b.max_recipients, 200);
    conf_done(&a);
    conf_done(&b);
}

static void sizes_on_the_command_line(void **state)
{
    uint64_t n = 7;

    (void)state;
    assert_int_equal(conf_size_parse(SPAN_LIT("50 MiB"), &n), BRANT_OK);
    assert_int_equal(n, 50 << 20);
    assert_int_equal(conf_size_parse(SPAN_LIT("0"), &n), BRANT_OK);
    assert_int_equal(n, 0);
    n = 7;
    assert_int_equal(conf_size_parse(SPAN_LIT("50"), &n), BRANT_ESYNTAX);
    assert_int_equal(conf_size_parse(SPAN_LIT(""), &n), BRANT_ESYNTAX);
    assert_int_equal(conf_size_parse(SPAN_LIT("MiB"), &n), BRANT_ESYNTAX);
    assert_int_equal(conf_size_parse(SPAN_LIT("50 apples"), &n), BRANT_ESYNTAX);
    assert_int_equal(conf_size_parse(SPAN_LIT("18446744073709551615 KiB"), &n), BRANT_ELIMIT);
    assert_int_equal(n, 7);
}

/* What a table can get wrong by hand. */
static void the_table_is_sound(void **state)
{
    const struct conf_key *k;
    size_t n = 0;

    (void)state;
    for (; (k = conf_key_at(n)) != NULL; n++) {
        _cleanup_buf_ struct buf text;

        buf_init(&text, 4096);
        assert_ptr_equal(conf_key_find(span_str(k->name)), k);
        assert_ptr_equal(conf_key_nearest(span_str(k->name)), k);
        assert_int_equal(conf_key_describe(k, &text), BRANT_OK);
        assert_true(text.len > 0);
        assert_int_equal(!!(k->flags & CONF_FLAG_RELOAD) + !!(k->flags & CONF_FLAG_RESTART), 1);
        assert_true(strlen(k->help) > 10 && k->help[strlen(k->help) - 1] == '.');
        assert_int_equal(k->type == CONF_TYPE_ENUM, k->choices[0] != '\0');
        assert_true(k->min <= k->max);
        assert_int_equal(conf_key_help(k, 80, &text), BRANT_OK);
    }
    assert_true(n > 30);
}

/* Every key accepts its limits and its default, and refuses what lies beyond. */
static void limits_are_inclusive(void **state)
{
    const struct conf_key *k;
    struct conf_errors e;
    struct conf c;

    (void)state;
    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        const char *unit = k->type == CONF_TYPE_SIZE ? " B" : k->type == CONF_TYPE_DURATION ? " ms" : "";
        const uint64_t beyond[] = {k->min - 1, k->max + 1};
        char text[256];

        if (k->type != CONF_TYPE_INT && k->type != CONF_TYPE_SIZE && k->type != CONF_TYPE_DURATION)
            continue;
        for (size_t j = 0; j < 2; j++) {
            if (k->min == 0 && j == 0)
                continue;
            snprintf(text, sizeof text, HEAD "%s = %llu%s\n", k->name, (unsigned long long)beyond[j], unit);
            assert_int_equal(conf_parse(span_str(text), "f", &c, &e), BRANT_ESYNTAX);
            assert_non_null(strstr(e.list[0].text, j ? "too large" : "too small"));
        }
        for (size_t j = 0; j < 2; j++) { /* a limit may clash with another key, but not be out of range */
            snprintf(text, sizeof text, HEAD "%s = %llu%s\n", k->name,
                     (unsigned long long)(j ? k->max : k->min), unit);
            if (conf_parse(span_str(text), "f", &c, &e) == BRANT_OK)
                conf_done(&c);
            else
                assert_null(strstr(e.list[0].text, "allowed is"));
        }
    }
}

/* Any byte in any place: an answer, never a crash, and errors that can be printed. */
static void any_byte_anywhere_is_answered(void **state)
{
    static const char text[] = HEAD "listen.smtp = [::1]:25, 1.2.3.4:26 # x\ndrain_time = \"5 min\"\n";
    char changed[sizeof text];
    struct conf_errors e;
    struct conf c;

    (void)state;
    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(changed, text, sizeof text);
            changed[at] = (char)byte;
            if (conf_parse(span_make(changed, sizeof text - 1), "f", &c, &e) == BRANT_OK)
                conf_done(&c);
            else
                assert_true(e.count > 0);
        }
    }
    for (size_t cut = 0; cut < sizeof text; cut++) {
        if (conf_parse(span_make(text, cut), "f", &c, &e) == BRANT_OK)
            conf_done(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_host_name_is_needed),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(errors_say_where_what_and_what_would_be_right),
        cmocka_unit_test(addresses_need_a_port_and_brackets),
        cmocka_unit_test(keys_that_contradict_each_other_are_refused),
        cmocka_unit_test(all_errors_are_seen_at_once_up_to_a_bound),
        cmocka_unit_test(a_value_in_an_error_stays_on_its_line),
        cmocka_unit_test(the_dump_parses_to_itself),
        cmocka_unit_test(a_reload_names_what_needs_a_restart),
        cmocka_unit_test(sizes_on_the_command_line),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(limits_are_inclusive),
        cmocka_unit_test(any_byte_anywhere_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
