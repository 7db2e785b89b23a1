#include "list.h"
size_t length_of_three(void)
{
	struct list c = { 0 }, b = { &c }, a = { &b };
	int unused_on_purpose;
	return list_length(&a);
}
