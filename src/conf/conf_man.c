/* Prints the keys as the mdoc section that stands in docs/man/brant.conf.5. Run by `make docs`;
 * tools/check-docs compares. */
#include <stdio.h>

#include "conf/conf.h"

/* One sentence to a line, as mdoc wants it; backslashes mean themselves. */
static void put_text(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\\')
            fputs("\\e", stdout);
        else if (*p == ' ' && p > text && p[-1] == '.')
            putchar('\n');
        else
            putchar(*p);
    }
    putchar('\n');
}

static void put_key(const struct conf_key *k)
{
    _cleanup_buf_ struct buf kind;

    buf_init(&kind, 512);
    conf_key_describe(k, &kind);
    printf(".It Ic %s\n", k->name);
    put_text(k->help);
    printf(".Pp\nValue: %s.\n", buf_cstr(&kind));
    if (k->flags & CONF_FLAG_REQUIRED)
        puts("It must be set.");
    else
        printf("Default: %s.\n", k->def[0] ? k->def : "empty");
    if (!(k->flags & CONF_FLAG_RELOAD))
        puts("A change needs a restart.");
}

int main(void)
{
    const struct conf_key *k;
    int group = -1;

    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        if ((int)k->group != group)
            printf("%s.Ss %s\n.Bl -tag -width Ds\n", i ? ".El\n" : "", conf_group_titles[k->group]);
        group = (int)k->group;
        put_key(k);
    }
    puts(".El");
    return 0;
}
