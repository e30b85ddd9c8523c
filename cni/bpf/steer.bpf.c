/* One instance for each captured pod, attached to its network namespace. */
#include "steer_rules.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
