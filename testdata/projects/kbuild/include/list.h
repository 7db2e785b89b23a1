#pragma once
#include <stddef.h>
struct list { struct list *next; };
static inline size_t list_length(const struct list *list)
{
	size_t length = 0;
	for (; list; list = list->next)
		length++;
	return length;
}
