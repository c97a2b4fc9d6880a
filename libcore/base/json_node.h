/* json_node - how a JSON document lies in memory: its nodes in one array, in the order of the text, each
 * followed by its children.  The first node of the array is the document's own; the root is the second. */
#ifndef QZ_JSON_NODE_H
#define QZ_JSON_NODE_H

#include "libcore/base/json.h"

struct qz_json {
	uint32_t size; /* nodes of the value, itself included */
	uint8_t kind;
	bool more;      /* a sibling follows, at this + size */
	bool real;      /* a number written with a point or an exponent */
	uint32_t n;     /* children, or bytes of a string */
	uint32_t key_n; /* of an object's child */
	const char *key;
	union {
		double number;
		const char *string; /* NUL-terminated */
		bool truth;
		char *text; /* the document's: where its strings lie */
	} v;
};

#endif
