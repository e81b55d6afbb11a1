/**
 * Times training steps of llm.c's CPU trainer (GPT2-124M, float32) on random tokens. PATH is a clone of karpathy/llm.c,
 * whose train_gpt2.c is included as it is:
 *
 *     cc -Ofast -march=native -fopenmp -DOMP -I PATH llmc_train.c -o llmc_train -lm && ./llmc_train [B] [T] [steps]
 *
 * A step is forward, loss, backward and AdamW. The first loss is checked against ln V. One JSON line goes to stdout;
 * what llm.c prints goes to stderr.
 */
#define TESTING
#include "train_gpt2.c"

static uint32_t state = 1;

/** The next whole number of a fixed sequence. */
static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static void put(const void* data, size_t size, size_t count, FILE* file) {
    if (fwrite(data, size, count, file) != count) {
        perror("llmc_train");
        exit(1);
    }
}

/** A checkpoint of GPT-2's initial weights: llm.c builds models from files only. */
static void write_checkpoint(const char* path) {
    const int header[256] = {20240326, 3, 1024, 50257, 12, 12, 768, 50304};
    const GPT2Config config = {1024, 50257, 50304, 12, 12, 768};
    size_t sizes[NUM_PARAMETER_TENSORS];
    fill_in_parameter_sizes(sizes, config);
    FILE* file = fopen(path, "wb");
    put(header, sizeof header, 1, file);
    for (int t = 0; t < NUM_PARAMETER_TENSORS; t++) {
        // Layer norms' gains are the tensors 2, 8 and 14; biases are the odd ones from 3 on, and 15.
        const int gain = t == 2 || t == 8 || t == 14, bias = t == 3 || t == 5 || t == 7 || t == 9 || t == 11 || t == 13 || t == 15;
        for (size_t i = 0; i < sizes[t]; i++) {
            const float noise = ((float)next() / 4294967296.0f - 0.5f) * 0.069f;  // standard deviation 0.02
            const float value = gain ? 1.0f : bias ? 0.0f : noise;
            put(&value, sizeof value, 1, file);
        }
    }
    fclose(file);
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int ascending(const void* a, const void* b) {
    const double difference = *(const double*)a - *(const double*)b;
    return difference < 0 ? -1 : difference > 0;
}

int main(int argc, char** argv) {
    const int B = argc > 1 ? atoi(argv[1]) : 1, T = argc > 2 ? atoi(argv[2]) : 1024, steps = argc > 3 ? atoi(argv[3]) : 3;
    FILE* out = fdopen(dup(1), "w");
    dup2(2, 1);
    char path[] = "/tmp/llmc_train_XXXXXX";
    close(mkstemp(path));
    write_checkpoint(path);
    GPT2 model;
    gpt2_build_from_checkpoint(&model, path);
    remove(path);
    int* inputs = malloc(B * T * sizeof(int));
    int* targets = malloc(B * T * sizeof(int));
    double* ms = malloc(steps * sizeof(double));
    for (int step = 0; step <= steps; step++) {
        for (int i = 0; i < B * T; i++) {
            inputs[i] = next() % 50257;
            targets[i] = next() % 50257;
        }
        const double start = milliseconds();
        gpt2_forward(&model, inputs, targets, B, T);
        gpt2_zero_grad(&model);
        gpt2_backward(&model);
        gpt2_update(&model, 1e-4f, 0.9f, 0.999f, 1e-8f, 0.0f, step + 1);
        if (step > 0) {
            ms[step - 1] = milliseconds() - start;
        } else if (fabsf(model.mean_loss - logf(50257)) > 0.5f) {
            fprintf(stderr, "first loss %f, an untrained model has about %f\n", model.mean_loss, logf(50257));
            return 1;
        }
    }
    qsort(ms, steps, sizeof(double), ascending);
    fprintf(out, "{\"peer\": \"llm.c\", \"batch\": %d, \"block\": %d, \"tokensPerSecond\": %.2f, \"stepMs\": [%.1f, %.1f, %.1f]}\n",
            B, T, B * T * 1e3 / ms[steps / 2], ms[0], ms[steps / 2], ms[steps - 1]);
    return 0;
}
