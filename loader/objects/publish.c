// SPDX-License-Identifier: Apache-2.0
/*
 * What every change of the model has in common, be it of objects or of this node's endpoints:
 * only one at a time, and the datapath gets exactly what was touched. After a publication the datapath is known to have what the model says, so
 * publishing once more after an undo tells it the old state.
 */
#include "state.h"

#include <errno.h>

int bn_transaction_begin(struct bn_objects *objects, struct bn_error *err)
{
	if (objects->busy)
		return bn_error_set(err, -EBUSY, "cannot change objects while a change is made");
	objects->busy = true;
	objects->transaction++;
	return 0;
}

void bn_transaction_end(struct bn_objects *objects)
{
	/* until the start, what is touched is what the start commits */
	if (objects->started)
		bn_index_sweep(objects);
	objects->busy = false;
}

int bn_transaction_publish(struct bn_objects *objects, struct bn_error *err)
{
	struct bn_touched_addr *addr, *next;
	struct bn_arena arena = {0};
	struct bn_service_ref *ref;
	struct bn_change change;
	int r;

	r = bn_build_change(objects, &arena, &change);
	if (r == 0 &&
	    (change.n_services || change.n_removed || change.n_peers || change.n_peers_removed ||
	     change.n_policies || change.n_policies_removed || change.n_pods ||
	     change.n_pods_removed || change.n_namespaces || change.n_nodes))
		r = objects->config.commit(objects->config.user, &change, err);
	bn_arena_done(&arena);
	if (r < 0)
		return r;
	STAILQ_FOREACH(ref, &objects->touched_services, touched)
		ref->is_known = bn_index_is_served(objects, ref);
	HASH_ITER(hh, objects->touched_addrs, addr, next)
		addr->before = bn_index_peer(objects, &addr->addr);
	return 0;
}
