/* Numbers, with the limits that headers.bst generates. */
#ifndef NUM_H
#define NUM_H

#include <num_config.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline int num_clamped(int value) { return value > NUM_LIMIT ? NUM_LIMIT : value; }

int num_square(int value);

#ifdef __cplusplus
}
#endif

#endif
