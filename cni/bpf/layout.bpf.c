/* Never loaded: its type information tells a test where the compiler puts every field of layout.h, those of rings and
 * nested structures as well, which no map names. */
#include "layout.h"

struct drop *layout_drop;
struct candidate *layout_candidate;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
