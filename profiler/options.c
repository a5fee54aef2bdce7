/*
 * options.c: the command line of respin-vm.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/options.h"
#include "profiler/text.h"

/* One digit, so that the guest's stack begins at the same place under every engine. */
static bool read_engine(const char *digit, Engine *engine)
{
    if (digit[0] < '0' || digit[0] > '0' + ENGINE_AUTO || digit[1] != '\0')
        return false;
    *engine = (Engine)(digit[0] - '0');
    return true;
}

/* SOFT:HARD */
static void read_limit(const char *value, AddressLimit *limit)
{
    limit->soft = text_parse(&value, 16);
    value += *value == ':';
    limit->hard = text_parse(&value, 16);
    limit->is_set = true;
}

bool options_read(VmOptions *options, Start *start, char *const *argv, const char **problem)
{
    const char *value;
    uint64_t i = 1;
    options->engine = ENGINE_THREADED;
    for (; argv[i] != NULL && !text_equal(argv[i], "--"); i++) {
        const char *word = argv[i];
        if ((value = text_after(word, "--out=")) != NULL)
            options->out = value;
        else if ((value = text_after(word, "--respin=")) != NULL)
            options->respin = value;
        else if ((value = text_after(word, "--vm=")) != NULL)
            options->vm = value;
        else if ((value = text_after(word, "--zydis=")) != NULL)
            options->zydis = value;
        else if ((value = text_after(word, "--model=")) != NULL)
            options->model_out = value;
        else if ((value = text_after(word, "--name=")) != NULL)
            start->name = value;
        else if ((value = text_after(word, "--burst=")) != NULL)
            options->burst = (struct BurstPort *)text_parse(&value, 16);
        else if ((value = text_after(word, "--run=")) != NULL)
            options->run = text_parse(&value, 16);
        else if ((value = text_after(word, "--engine=")) != NULL &&
                 read_engine(value, &options->engine))
            continue;
        else if ((value = text_after(word, "--address-space=")) != NULL)
            read_limit(value, &options->address_space);
        else if ((value = text_after(word, "--data=")) != NULL)
            read_limit(value, &options->data);
        else if ((value = text_after(word, "--cache=")) != NULL)
            options->cache_bytes = text_parse(&value, 16);
        else if (text_equal(word, "--values"))
            options->values = true;
        else if (text_equal(word, "--no-follow"))
            options->no_follow = true;
        else if (text_equal(word, "--first"))
            start->is_first = true;
        else if (text_equal(word, "--child"))
            options->is_child = true;
        else
            return *problem = word, false;
    }
    *problem = "this program is started by `respin profile`";
    if (argv[i] == NULL || argv[i + 1] == NULL || argv[i + 2] == NULL || options->vm == NULL)
        return false;
    start->program = argv[i + 1];
    start->first = i + 2;
    if (start->name == NULL)
        start->name = start->program;
    return true;
}

/* A vector of words whose texts lie one after the other in `text`. */
typedef struct Words {
    const char **argv;
    size_t n;
    char *at;
    char *end;
} Words;

static void put_word(Words *words, const char *key, const char *value)
{
    if (value == NULL)
        return;
    size_t key_len = strlen(key);
    size_t value_len = strlen(value);
    if (key_len + value_len + 1 > (size_t)(words->end - words->at))
        vm_die("paths too long for an execve, bytes", key_len + value_len);
    words->argv[words->n++] = words->at;
    memcpy(words->at, key, key_len);
    memcpy(words->at + key_len, value, value_len + 1);
    words->at += key_len + value_len + 1;
}

static void put_limit(Words *words, const char *key, const AddressLimit *limit)
{
    Text text;
    text_start(&text);
    text_put_hex(&text, limit->soft);
    text_put(&text, ":");
    text_put_hex(&text, limit->hard);
    put_word(words, key, text.bytes);
}

static void put_size(Words *words, const char *key, uint64_t size)
{
    Text text;
    text_start(&text);
    text_put_hex(&text, size);
    put_word(words, key, text.bytes);
}

size_t options_to_argv(const VmOptions *options, const char *name, OptionText *text,
                       const char **argv)
{
    Words words = { argv, 0, text->bytes, text->bytes + sizeof text->bytes };
    Text run;
    text_start(&run);
    text_put_hex(&run, options->run);
    put_word(&words, "", options->vm);
    put_word(&words, "--vm=", options->vm);
    put_word(&words, "--zydis=", options->zydis);
    put_word(&words, "--out=", options->out);
    put_word(&words, "--respin=", options->respin);
    put_word(&words, "--model=", options->model_out);
    put_word(&words, "--run=", run.bytes);
    put_word(&words, "--name=", name);
    const char engine[] = { (char)('0' + options->engine), '\0' };
    put_word(&words, "--engine=", engine);
    if (options->address_space.is_set)
        put_limit(&words, "--address-space=", &options->address_space);
    if (options->data.is_set)
        put_limit(&words, "--data=", &options->data);
    if (options->cache_bytes != 0)
        put_size(&words, "--cache=", options->cache_bytes);
    if (options->values)
        put_word(&words, "--values", "");
    if (options->no_follow)
        put_word(&words, "--no-follow", "");
    if (options->is_child)
        put_word(&words, "--child", "");
    put_word(&words, "--", "");
    return words.n;
}
