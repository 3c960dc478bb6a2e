/* `brant message FILE [--json]`: explains a message. */
#ifndef CLI_MESSAGE_H
#define CLI_MESSAGE_H

/* argv[0] is "message"; FILE may be "-". Exit status: 0, 1 when the file can't be read or is too large,
 * 2 for wrong usage. The JSON is described in mime/explain.h. */
int cli_message(int argc, char **argv);

#endif
