/*
 * Floating point and SIMD: bodies under gravity, a Mandelbrot row by row, a fast Fourier transform,
 * dot products of single precision that the compiler vectorizes. About half a second native; prints
 * sums.
 *
 * SPDX-License-Identifier: MIT
 */
#include <complex.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODIES = 24, POINTS = 4096, LONG = 1 << 14 };

typedef struct Body {
    double at[3], speed[3], mass;
} Body;

static Body bodies[BODIES];
static double complex points[POINTS];
static float first[LONG], second[LONG], third[LONG];

static double move_bodies(double time)
{
    double energy = 0;
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            double apart[3], square = 0.01;
            for (int k = 0; k < 3; k++) {
                apart[k] = bodies[i].at[k] - bodies[j].at[k];
                square += apart[k] * apart[k];
            }
            double pull = time / (square * sqrt(square));
            for (int k = 0; k < 3; k++) {
                bodies[i].speed[k] -= apart[k] * bodies[j].mass * pull;
                bodies[j].speed[k] += apart[k] * bodies[i].mass * pull;
            }
        }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++) {
            bodies[i].at[k] += time * bodies[i].speed[k];
            energy += 0.5 * bodies[i].mass * bodies[i].speed[k] * bodies[i].speed[k];
        }
    return energy;
}

static uint32_t mandelbrot(int size)
{
    uint32_t inside = 0;
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            double cr = 2.0 * x / size - 1.5, ci = 2.0 * y / size - 1.0, zr = 0, zi = 0;
            int n = 0;
            for (; n < 50 && zr * zr + zi * zi < 4; n++) {
                double next = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = next;
            }
            inside += n == 50;
        }
    return inside;
}

static void transform(double complex *data, int n)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double complex swap = data[i];
            data[i] = data[j];
            data[j] = swap;
        }
    }
    for (int half = 1; half < n; half *= 2) {
        double complex root = cexp(-I * M_PI / half);
        for (int start = 0; start < n; start += 2 * half) {
            double complex turn = 1;
            for (int i = 0; i < half; i++) {
                double complex odd = data[start + half + i] * turn;
                data[start + half + i] = data[start + i] - odd;
                data[start + i] += odd;
                turn *= root;
            }
        }
    }
}

static float blend(float scale)
{
    float sum[8] = { 0 };
    for (int i = 0; i < LONG; i++)
        third[i] = first[i] * scale + second[i];
    for (int i = 0; i < LONG; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += third[i + k] * first[i + k];
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 300;
    double sum = 0;
    for (int i = 0; i < BODIES; i++)
        bodies[i] = (Body){ { i, i * 0.7, i * i * 0.1 }, { 0, 0.1, -0.1 }, 1 + i % 3 };
    for (int i = 0; i < LONG; i++) {
        first[i] = (float)(i % 100) * 0.01f;
        second[i] = (float)(i % 77) * 0.02f;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 100; i++)
            sum += move_bodies(0.001);
        sum += mandelbrot(96);
        for (int i = 0; i < POINTS; i++)
            points[i] = sin(i * 0.01 * (round + 1));
        transform(points, POINTS);
        sum += cabs(points[17]);
        for (int i = 0; i < 100; i++)
            sum += blend((float)i * 0.001f);
    }
    printf("%.6e\n", sum);
    return 0;
}
