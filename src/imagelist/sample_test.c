#include "imagelist/sample_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* 2026-11-01 to 2026-12-01. */
static const char text[] =
	"{'hv:imagelist': {"
	"'dc:date:created': '2026-11-01T10:00:00Z', 'dc:date:expires': '2026-12-01T10:00:00Z',"
	"'dc:identifier': '76fdee70-8119-5d33-aaaa-3c57e1c60df1', 'dc:title': 'VO image list',"
	"'dc:description': 'Two\\nlines', 'dc:source': 'https://appdb.example.net/',"
	"'ad:vo': 'some.vo.net', 'hv:uri': 'https://appdb.example.net/image.list',"
	"'hv:version': '20261101100000', 'hv:endorser': {'hv:x509': {"
	"'dc:creator': 'Alice Endorser', 'hv:ca': '" SAMPLE_CA "', 'hv:dn': '" SAMPLE_DN "',"
	"'hv:email': 'alice@example.net'}},"
	"'hv:images': [{'hv:image': {"
	"'dc:identifier': 'c0482bc2-bf41-5d49-aaaa-a750174a186b',"
	"'dc:title': 'Image for CernVM [SL/6.0/KVM]', 'dc:description': '',"
	"'ad:mpuri': 'https://appdb.example.net/x:484/', 'hv:hypervisor': 'QEMU,KVM',"
	"'hv:format': 'QCOW2', 'hv:size': 121243136, 'hv:uri': 'https://example.net/c.qcow2',"
	"'hv:version': '3.3.0-1', 'hv:ram_minimum': '512', 'hv:core_minimum': 1,"
	"'sl:arch': 'x86_64', 'sl:checksum:sha512': '%0128d', 'sl:comments': '',"
	"'sl:os': 'Linux', 'sl:osname': 'Scientific Linux', 'sl:osversion': '6.0'}}]}}";

json_t *sample_list(void)
{
	char json[sizeof(text) + 128];
	json_t *root;

	snprintf(json, sizeof(json), text, 7);
	for (char *c = json; *c; c++)
		if (*c == '\'')
			*c = '"';
	root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	return root;
}

json_t *sample_object(json_t *root)
{
	return json_object_get(root, "hv:imagelist");
}

json_t *sample_image(json_t *root)
{
	json_t *images = json_object_get(sample_object(root), "hv:images");

	return json_object_get(json_array_get(images, 0), "hv:image");
}

struct imagelist *sample_parse(json_t *root)
{
	char *json = json_dumps(root, 0);
	struct imagelist *list = NULL;
	struct error err = {0};

	if (imagelist_parse(json, strlen(json), &list, &err) < 0)
		fail_msg("%s", err.text);
	free(json);
	return list;
}

void sample_add(json_t *root, const char *identifier, const char *title)
{
	json_t *image = json_deep_copy(sample_image(root));

	json_object_set_new(image, "dc:identifier", json_string(identifier));
	json_object_set_new(image, "dc:title", json_string(title));
	json_array_append_new(json_object_get(sample_object(root), "hv:images"),
		json_pack("{s:o}", "hv:image", image));
}
