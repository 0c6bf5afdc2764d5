/* A recipe as a program: what is done in an image when its packages are installed. */
#pragma once

#include "image/recipe.h"
#include "lib/buffer.h"

enum recipe_target {
	RECIPE_BUILT,  /* kernel modules are in the initial file system, which is ours */
	RECIPE_FOREIGN /* an image with a boot loader and an init of its own */
};

/* Is there anything to do? */
bool recipe_script_is_empty(const struct recipe *r, enum recipe_target target);

/* Appends a shell script that does it, run as root in the image, where it needs a shell, coreutils,
 * sed and grep. It says by RUNNER_BEGIN and RUNNER_FAILED (runner.h) what it is at, and ends at the
 * first failure. Returns 0 or negative errno. */
int recipe_script(
	const struct recipe *r, enum recipe_target target, struct buffer *ret, struct error *err);
