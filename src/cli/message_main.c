/* `brant message` alone, for tests of the parser that need no other part of the command line. */
#include "cli/message.h"

int main(int argc, char **argv)
{
    return cli_message(argc, argv);
}
