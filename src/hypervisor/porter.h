/* The node's tie with wnodes-porter, a child without rights that alone fetches images and gives
 * them to other nodes. It runs where the node has joined a site; when it ends, it is started again,
 * and goes on with what has come. It opens no file: all come from here, as descriptors.
 *
 * Its socket (its standard input) carries packets as in engine/packet.h. It asks, one question at a
 * time, and is answered {"error":"..."} where we refuse:
 *
 *   {"op":"hello"}  -> {"node","controllers":[..],"listen":"ADDRESS:PORT" or "","address":"https://
 *     HOST:PORT","rack","rate_bytes":n (0: no limit),"slots":n,"origins":["http://..." or
 *     "/DIRECTORY"],"descriptors":["key","certificate","ca"]}
 *   {"op":"origin","path":"/DIRECTORY"} -> {"descriptors":["directory"]}, one that is only good for
 *     opening what is in it; or {}: it is being opened, {"changed":true} tells when to ask again
 *   {"op":"work"}   -> {"fetch":[{"digest":D,"manifest":true,"parts":[{"kind","digest":B,"size",
 *     "index":SHA-256 of the index}]}],"serve":[{"digest":D,"blobs":[B]}],"own":[B]}: the most
 * urgent comes first; parts that are here already are not named, nor is the manifest wanted then
 *   {"op":"manifest","digest":D,"text"}   -> {}
 *   {"op":"part","digest":D,"blob":B}     -> {"descriptors":["partial","have","index"]}: for
 * reading and writing; what is in them stays, whoever is killed
 *   {"op":"done","digest":D,"blob":B}     it has closed these  -> {} when every byte was hashed
 *     again and is on the disk, which may take a while
 *   {"op":"local","blob":B}               -> {"descriptors":["blob","index"]}: to be read
 *   {"op":"own","blob":B}                 -> {"descriptors":["blob"]}: for itself, not for others
 *   {"op":"progress","digest":D,"bytes","total","reused","from_peers","from_origin","rate"} -> {}
 *   {"op":"failed","digest":D,"reason"}   -> {}
 *
 * Unasked it hears {"changed":true}, once until it asks for its work. */
#pragma once

#include "lib/error.h"

struct hypervisor;
struct porter;

/* Does nothing as long as there is no site. Returns 0 or negative errno. */
int porter_new(struct hypervisor *h, struct porter **ret, struct error *err);
struct porter *porter_free(struct porter *p);
DEFINE_CLEANUP(struct porter *, porter_free)

/* The node has a site, and this name there; NULL: it has none any more. */
void porter_set_site(struct porter *p, const char *node);

/* Settings or certificate have changed: a new one is started. */
void porter_renew(struct porter *p);

/* There is other work. */
void porter_note_change(struct porter *p);

bool porter_is_running(const struct porter *p);
