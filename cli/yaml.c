// SPDX-License-Identifier: Apache-2.0
/*
 * JSON values as YAML. A string is written without quotes only where every YAML reader, 1.1 or
 * 1.2, takes it for a string; so what is printed can be applied again.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "output.h"
#include "text.h"

/* What some reader may take for a number, a date, a truth value or nothing. */
static bool is_ambiguous(const char *s)
{
	static const char *const words[] = {"",   "~",    "null",  "true",  "false", "yes",
					    "no", "on",   "off",   "y",     "n",     "<<",
					    "=",  ".inf", "-.inf", "+.inf", ".nan"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(s, words[i]) == 0)
			return true;
	}
	/* numbers in any base, times and dates begin like this */
	return strspn(s, "+-.0123456789") > 0;
}

static yaml_scalar_style_t string_style(const char *s)
{
	if (strchr(s, '\n') && s[strspn(s, " \n")] == s[0])
		return YAML_LITERAL_SCALAR_STYLE;
	return is_ambiguous(s) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE;
}

static bool emit_scalar(yaml_emitter_t *e, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t event;

	return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
					    (int)strlen(text), 1, 1, style) &&
	       yaml_emitter_emit(e, &event);
}

static bool emit_value(yaml_emitter_t *e, const json_t *value)
{
	yaml_event_t event;
	const json_t *item;
	const char *key;
	char *text;
	size_t i;
	bool ok;

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		if (!yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
							 json_object_size(value)
								 ? YAML_BLOCK_MAPPING_STYLE
								 : YAML_FLOW_MAPPING_STYLE) ||
		    !yaml_emitter_emit(e, &event))
			return false;
		json_object_foreach((json_t *)value, key, item) {
			if (!emit_scalar(e, key, string_style(key)) || !emit_value(e, item))
				return false;
		}
		return yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
	case JSON_ARRAY:
		if (!yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
							  json_array_size(value)
								  ? YAML_BLOCK_SEQUENCE_STYLE
								  : YAML_FLOW_SEQUENCE_STYLE) ||
		    !yaml_emitter_emit(e, &event))
			return false;
		json_array_foreach(value, i, item) {
			if (!emit_value(e, item))
				return false;
		}
		return yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
	case JSON_STRING:
		text = (char *)json_string_value(value);
		return emit_scalar(e, text, string_style(text));
	default:
		text = json_dumps(value, JSON_ENCODE_ANY);
		ok = text && emit_scalar(e, text, YAML_PLAIN_SCALAR_STYLE);
		free(text);
		return ok;
	}
}

int bn_output_yaml(FILE *f, const json_t *value, bool in_list)
{
	yaml_emitter_t e;
	yaml_event_t event;
	char *text;
	bool ok;

	if (!yaml_emitter_initialize(&e))
		return bn_fail("out of memory");
	yaml_emitter_set_output_file(&e, f);
	/* libyaml writes direction marks as they are, or escapes all that is not ASCII */
	text = json_dumps(value, JSON_ENCODE_ANY);
	yaml_emitter_set_unicode(&e, text && bn_text_is_clean(text));
	free(text);
	yaml_emitter_set_width(&e, -1);
	ok = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
	     yaml_emitter_emit(&e, &event) &&
	     yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
	     yaml_emitter_emit(&e, &event);
	if (in_list)
		ok = ok &&
		     yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
							  YAML_BLOCK_SEQUENCE_STYLE) &&
		     yaml_emitter_emit(&e, &event);
	ok = ok && emit_value(&e, value);
	if (in_list)
		ok = ok && yaml_sequence_end_event_initialize(&event) &&
		     yaml_emitter_emit(&e, &event);
	ok = ok && yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(&e, &event) &&
	     yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(&e, &event);
	/* the caller may hold output of its own in the same stream */
	ok = ok && yaml_emitter_flush(&e);
	if (!ok && e.error == YAML_WRITER_ERROR)
		ok = true; /* main() looks at the stream's state */
	yaml_emitter_delete(&e);
	return ok ? 0 : bn_fail("can't write the result as YAML");
}
