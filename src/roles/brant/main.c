/* The program `brant`: the command line, and the supervisor behind `serve` and `demo`. */
#include "cli/cli.h"
#include "roles/supervisor/supervisor.h"

int main(int argc, char **argv)
{
    static const struct cli_programs programs = {.serve = supervisor_serve, .demo = supervisor_demo};

    return cli_main(argc, argv, &programs);
}
