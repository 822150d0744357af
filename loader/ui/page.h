/* SPDX-License-Identifier: Apache-2.0 */
/* The page (the folder ui/, joined when building), and what every answer says about itself. */
#pragma once

#include <microhttpd.h>

/* The page with its policy: it may load and run nothing but what stands in it. NULL: no memory. */
struct MHD_Response *bn_ui_page(void);
/* Headers of every answer: of one type, for this site alone, not to be kept. */
void bn_ui_headers(struct MHD_Response *response, const char *type);
