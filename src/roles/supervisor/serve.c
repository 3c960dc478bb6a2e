#include <stdio.h>

#include "base/err.h"
#include "os/sandbox.h"
#include "roles/supervisor/internal.h"
#include "roles/supervisor/supervisor.h"

int supervisor_serve(const char *config_path)
{
    if (sandbox_is_test_build()) {
        fprintf(stderr,
                "brant serve: this is a test build (-Dsandbox=test): its sandbox is too wide to serve\n");
        return 1;
    }
    struct supervisor *s = sup_new("brant serve");
    s->config_path = config_path;
    conf_done(&s->conf);
    int status = 1;
    if (sup_read_config(config_path, &s->conf) < 0)
        conf_init(&s->conf);
    else if (sup_prepare_dirs(&s->conf, false) == BRANT_OK)
        status = sup_run(s);
    sup_free(s);
    return status;
}
