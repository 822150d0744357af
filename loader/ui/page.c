// SPDX-License-Identifier: Apache-2.0
#include "ui/page.h"

/* page[], and PAGE_SCRIPT and PAGE_STYLE, the hashes of what is inline: made by ui/join.sh */
#include "page.inc"

static const char policy[] = "default-src 'none'; script-src '" PAGE_SCRIPT
			     "'; style-src '" PAGE_STYLE
			     "'; img-src data:; connect-src 'self'; base-uri 'none'; "
			     "form-action 'none'; frame-ancestors 'none'";

void bn_ui_headers(struct MHD_Response *response, const char *type)
{
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

struct MHD_Response *bn_ui_page(void)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(sizeof(page), (void *)page, MHD_RESPMEM_PERSISTENT);

	if (!response)
		return NULL;
	bn_ui_headers(response, "text/html; charset=utf-8");
	MHD_add_response_header(response, "Content-Security-Policy", policy);
	MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
	return response;
}
