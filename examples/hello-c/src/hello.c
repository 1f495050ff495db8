/* SPDX-License-Identifier: Apache-2.0 */
/* Answers every HTTP request on $PORT with one line.  --check says the line and ends. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char greeting[] = "hello from cruxd";

static int
listen_on(unsigned short port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void
answer(int client)
{
    char request[4096], reply[256];
    int size = snprintf(reply, sizeof reply,
                        "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
                        strlen(greeting) + 1, greeting);

    if (read(client, request, sizeof request) > 0 && write(client, reply, (size_t)size) != size)
        perror("write");
    (void)close(client);
}

int
main(int argc, char **argv)
{
    const char *port = getenv("PORT");
    int fd;

    puts(greeting);
    if (argc > 1 && strcmp(argv[1], "--check") == 0)
        return 0;

    (void)fflush(stdout);
    fd = listen_on((unsigned short)atoi(port != NULL ? port : "8080"));
    for (;;) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (client >= 0)
            answer(client);
    }
}
