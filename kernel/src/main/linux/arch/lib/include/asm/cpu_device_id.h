/* SPDX-License-Identifier: GPL-2.0-only */
/* x86's, which takes the vendors from a processor.h that the port has its own of. */
#ifndef _ASM_LIB_CPU_DEVICE_ID_H
#define _ASM_LIB_CPU_DEVICE_ID_H
#include <asm/cpufeature.h>
#include "../../../x86/include/asm/cpu_device_id.h"
#endif
