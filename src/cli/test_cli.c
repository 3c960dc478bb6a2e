#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/output.h"

static const char *served;
static char demo_dir[64];
static unsigned demo_base;

static int fake_serve(const char *config_path)
{
    served = config_path;
    return 0;
}

static int fake_demo(const char *dir, unsigned port_base)
{
    snprintf(demo_dir, sizeof demo_dir, "%s", dir);
    demo_base = port_base;
    return 0;
}

/* Runs a command line, words separated by blanks, with both outputs in one buffer; answers the exit status.
 */
static int run(const char *line, struct buf *out)
{
    static const struct cli_programs programs = {fake_serve, fake_demo};
    char words[512], program[] = "brant", *argv[32] = {program}, *save = NULL;
    int argc = 1, status, saved_out = dup(1), saved_err = dup(2);
    FILE *capture = tmpfile();
    uint8_t bytes[32768];
    size_t len;

    assert_non_null(capture);
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    fflush(stdout);
    dup2(fileno(capture), 1);
    dup2(fileno(capture), 2);
    status = cli_main(argc, argv, &programs);
    fflush(stdout);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    rewind(capture);
    len = fread(bytes, 1, sizeof bytes, capture);
    fclose(capture);
    buf_reset(out);
    assert_int_equal(buf_append(out, span_make(bytes, len)), 0);
    return status;
}

static bool says(struct buf *out, const char *text)
{
    return strstr(buf_cstr(out), text) != NULL;
}

static void wrong_use_is_2_with_the_right_usage(void **state)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"", "what shall be done?"},
        {"frob", "there is no command frob"},
        {"account", "brant account quota ADDRESS SIZE"},
        {"account frob", "there is no command account frob"},
        {"account add", "usage: brant account add ADDRESS"},
        {"account add a@b c", "\"c\" is too much"},
        {"domain list --deep", "--deep makes no sense here"},
        {"domain list --frob", "there is no option --frob"},
        {"domain list --dir", "--dir needs a value"},
        {"domain list --json=yes", "--json takes no value"},
        {"domain list --dir /x -c /y", "give one of them"},
        {"serve", "usage: brant serve -c FILE"},
        {"check", "usage: brant check -c FILE"},
        {"demo --port-base 99999", "a number from 1 to 61345"},
        {"demo --port-base 0", "a number from 1 to 61345"},
        {"account set a@b", "nothing is said to be set"},
        {"account set a@b --sent-copy maybe", "write on or off"},
        {"account add a@b --password-hash x --generate", "exclude each other"},
        {"app-password add a@b phone --protocols smtp", "submission,pop3,imap"},
        {"app-password add a@b phone --protocols ,", "submission,pop3,imap"},
        {"app-password add a@b phone --expires soon", "write for example 90d"},
        {"app-password add a@b phone --expires 0d", "write for example 90d"},
        {"app-password add a@b phone --expires 2027-13-01", "write for example 90d"},
        {"app-password add a@b phone --expires 2020-01-31", "that day is over"},
        {"app-password add a@b phone --expires 0207-01-31", "that day is over"},
        {"send-as add a@b c@d --expires 1969-12-30", "that day is over"},
        {"certificate add a@b laptop", "usage: brant certificate add ADDRESS NAME"},
        {"send-as add a@b c@d --protocols pop3", "makes no sense here"},
        {"a b c d e f g h i j k l", "too many words"},
    };
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = run(cases[i].line, &out);

        if (status != 2 || !says(&out, cases[i].says))
            print_error("%s\n%s\n", cases[i].line, buf_cstr(&out));
        assert_int_equal(status, 2);
        assert_true(says(&out, cases[i].says));
        assert_true(says(&out, "usage:") || says(&out, "brant: "));
    }
}

static void refusals_are_1_with_the_reason(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 1 << 20);
    assert_int_equal(run("check -c /does/not/exist", &out), 1);
    assert_true(says(&out, "/does/not/exist: No such file or directory"));
    assert_int_equal(run("status --dir /does/not/exist", &out), 1);
    assert_true(says(&out, "there is no demo here"));
    assert_int_equal(run("help frob", &out), 1);
    assert_int_equal(run("help config max_mesage_size", &out), 1);
    assert_true(says(&out, "did you mean max_message_size"));
    assert_int_equal(run("message /does/not/exist", &out), 1);
    assert_int_equal(run("certificate add a@b laptop /does/not/exist", &out), 1);
    assert_true(says(&out, "SHA-256 fingerprint"));
    assert_int_equal(run("queue remove 12", &out), 1);
    assert_true(says(&out, "not an id of the queue"));
}

static void options_may_stand_anywhere(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 1 << 20);
    assert_int_equal(run("-c /a serve", &out), 0);
    assert_string_equal(served, "/a");
    assert_int_equal(run("serve --config=/b", &out), 0);
    assert_string_equal(served, "/b");
    assert_int_equal(run("demo", &out), 0);
    assert_string_equal(demo_dir, "brant-demo");
    assert_int_equal(demo_base, 2000);
    assert_int_equal(run("--port-base 3000 demo --dir x", &out), 0);
    assert_string_equal(demo_dir, "x");
    assert_int_equal(demo_base, 3000);
}

static void help_explains_every_command(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 1 << 20);
    assert_int_equal(run("help", &out), 0);
    assert_true(says(&out, "account passwd"));
    assert_int_equal(run("help account passwd", &out), 0);
    assert_true(says(&out, "usage: brant account passwd ADDRESS"));
    assert_int_equal(run("account passwd --help", &out), 0);
    assert_true(says(&out, "usage: brant account passwd ADDRESS"));
    assert_int_equal(run("help config", &out), 0);
    assert_true(says(&out, "max_message_size\n"));
    assert_int_equal(run("--version", &out), 0);
    assert_true(says(&out, "brant "));
}

static void a_configuration_is_checked_and_shown(void **state)
{
    char path[] = "/tmp/brant-test-cli-XXXXXX", line[128];
    int fd = mkstemp(path);
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 1 << 20);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "hostname = a.b\n", 15), 15);
    snprintf(line, sizeof line, "check -c %s", path);
    assert_int_equal(run(line, &out), 0);
    assert_true(says(&out, ": good\n"));
    snprintf(line, sizeof line, "check --show -c %s", path);
    assert_int_equal(run(line, &out), 0);
    assert_true(says(&out, "max_message_size = 50 MiB\n"));
    assert_int_equal(write(fd, "x = 1\ny = 2\n", 12), 12);
    assert_int_equal(run(line, &out), 1);
    assert_true(says(&out, ":2: unknown key \"x\"") && says(&out, ":3: unknown key \"y\""));
    close(fd);
    unlink(path);
}

static void sizes_and_times_for_people(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 1024);
    output_size(&out, 0);
    buf_append_byte(&out, ' ');
    output_size(&out, 1023);
    buf_append_byte(&out, ' ');
    output_size(&out, 1536);
    buf_append_byte(&out, ' ');
    output_size(&out, UINT64_MAX);
    assert_string_equal(buf_cstr(&out), "0 B 1023 B 1.5 KiB 16.0 EiB");
    buf_reset(&out);
    output_time(&out, 1763889136123456, true);
    assert_string_equal(buf_cstr(&out), "2025-11-23 09:12:16.123 UTC");
}

static void json_text_is_always_valid(void **state)
{
    json_t *good = output_json_text(SPAN_LIT("\xe9\xb8\xbf \" \\ \n"));
    json_t *bad = output_json_text(SPAN_LIT("a\xff\x1b"));
    json_t *nul = output_json_text(SPAN_LIT("a\0b"));

    (void)state;
    assert_string_equal(json_string_value(good), "\xe9\xb8\xbf \" \\ \n");
    assert_string_equal(json_string_value(bad), "a\\xff\\x1b");
    assert_int_equal(json_string_length(nul), 3);
    json_decref(good);
    json_decref(bad);
    json_decref(nul);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_use_is_2_with_the_right_usage),
        cmocka_unit_test(refusals_are_1_with_the_reason),
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(help_explains_every_command),
        cmocka_unit_test(a_configuration_is_checked_and_shown),
        cmocka_unit_test(sizes_and_times_for_people),
        cmocka_unit_test(json_text_is_always_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
