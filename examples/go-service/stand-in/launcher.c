/* Does what main.go does. Its version is the last line of its own file, put there by the stand-in for go. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    char line[4096], version[4096] = "";
    int trusted = 0;
    FILE *file = fopen("/etc/ssl/certs/ca-certificates.crt", "r");
    if (!file) {
        perror("/etc/ssl/certs/ca-certificates.crt");
        return 1;
    }
    while (fgets(line, sizeof line, file))
        trusted |= strstr(line, "BEGIN CERTIFICATE") != NULL;
    fclose(file);
    file = fopen("/proc/self/exe", "rb");
    if (!file) {
        perror("/proc/self/exe");
        return 1;
    }
    size_t length;
    fseek(file, -64, SEEK_END);
    length = fread(line, 1, 64, file);
    /* Behind the last zero byte. */
    size_t begin = length;
    while (begin > 0 && line[begin - 1] != 0)
        begin--;
    memcpy(version, line + begin, length - begin);
    version[length - begin] = 0;
    version[strcspn(version, "\n")] = 0;
    printf("greeter %s, user %d, trusts some authorities: %s\n", version, (int)getuid(), trusted ? "true" : "false");
    return 0;
}
