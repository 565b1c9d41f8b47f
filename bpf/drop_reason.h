/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Made by bpf/generate.ts from src/model/drop-reason.ts: 0 forwarded, 1-15 answered, 16 and up dropped. */
#pragma once

#define EXIT_Forwarded 0
#define EXIT_Answered 1
#define EXIT_NoPort 16
#define EXIT_Short 17
#define EXIT_BadEtherType 18
#define EXIT_WrongSourceMac 19
#define EXIT_BadHeader 20
#define EXIT_SpoofedAddress 21
#define EXIT_NotToGateway 22
#define EXIT_NoRoute 23
#define EXIT_BlackHole 24
#define EXIT_NoPeering 25
#define EXIT_NoSuchAddress 26
#define EXIT_StaleEntry 27
#define EXIT_TargetGone 28
#define EXIT_TtlExpired 29
#define EXIT_TooBig 30
#define EXIT_FromHost 31
#define EXIT_Internal 32
