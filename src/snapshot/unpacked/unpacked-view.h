/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "snapshot/view-engine.h"

/* Unpacks a layer into snapshots/<hex>/fs once, whatever it is stacked on. */
extern const CxViewEngine cx_view_unpacked;
