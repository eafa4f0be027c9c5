// SPDX-License-Identifier: GPL-2.0-only
/*
 * gcm(aes) with the AES and carry-less multiply instructions, in one pass over
 * the data: what kTLS spends its time on.
 *
 * The kernel is ordinary user code here: vector registers are saved by whoever
 * switches threads, and need no kernel_fpu_begin().
 *
 * The counter runs in blocks of eight, whose GHASH products are summed before
 * one reduction (with H^8 .. H^1).  Numbers of GHASH are kept byte swapped, so
 * that a shift of 128 bits is a shift.  Reference: NIST SP 800-38D; Intel,
 * "Carry-Less Multiplication Instruction and its Usage for Computing the GCM
 * Mode", for the reduction.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <crypto/aes.h>
#include <crypto/gcm.h>
#include <crypto/internal/aead.h>
#include <crypto/scatterwalk.h>
#include <crypto/utils.h>
#include <wmmintrin.h>
#include <tmmintrin.h>
#include <smmintrin.h>

/* A key. */
struct gcm_ctx {
	struct crypto_aes_ctx	aes;
	int			rounds;
	u8			h[8][16];	/* H^1 .. H^8, byte swapped */
};

/* A message under way. */
struct gcm_state {
	__m128i	iv, acc;	/* nonce; GHASH so far */
	u32	ctr;		/* of the next block */
	int	off;		/* bytes used of the block below */
	u8	ks[16], gb[16];	/* key stream, and cipher text for GHASH */
};

#define KEY(c, i)	_mm_loadu_si128((const __m128i *)(c)->aes.key_enc + (i))
#define LD(p)		_mm_loadu_si128((const __m128i *)(p))
#define ST(p, v)	_mm_storeu_si128((__m128i *)(p), v)

static __always_inline __m128i bswap128(__m128i x)
{
	return _mm_shuffle_epi8(x, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
						10, 11, 12, 13, 14, 15));
}

/* [hi:mid:lo] to 128 bits: combine, shift left by one, reduce */
static __always_inline __m128i gf_reduce(__m128i lo, __m128i mid, __m128i hi)
{
	__m128i a, b, c;

	lo = _mm_xor_si128(lo, _mm_slli_si128(mid, 8));
	hi = _mm_xor_si128(hi, _mm_srli_si128(mid, 8));
	a = _mm_srli_epi32(lo, 31);
	b = _mm_srli_epi32(hi, 31);
	lo = _mm_or_si128(_mm_slli_epi32(lo, 1), _mm_slli_si128(a, 4));
	hi = _mm_or_si128(_mm_slli_epi32(hi, 1), _mm_slli_si128(b, 4));
	hi = _mm_or_si128(hi, _mm_srli_si128(a, 12));
	a = _mm_xor_si128(_mm_slli_epi32(lo, 31), _mm_slli_epi32(lo, 30));
	a = _mm_xor_si128(a, _mm_slli_epi32(lo, 25));
	b = _mm_srli_si128(a, 4);
	lo = _mm_xor_si128(lo, _mm_slli_si128(a, 12));
	c = _mm_xor_si128(_mm_srli_epi32(lo, 1), _mm_srli_epi32(lo, 2));
	c = _mm_xor_si128(c, _mm_srli_epi32(lo, 7));
	c = _mm_xor_si128(c, b);
	return _mm_xor_si128(hi, _mm_xor_si128(lo, c));
}

/* lo, mid, hi += x * y, not reduced */
#define GF_MUL(lo, mid, hi, x, y) do {					\
	lo = _mm_xor_si128(lo, _mm_clmulepi64_si128(x, y, 0x00));	\
	hi = _mm_xor_si128(hi, _mm_clmulepi64_si128(x, y, 0x11));	\
	mid = _mm_xor_si128(mid, _mm_clmulepi64_si128(x, y, 0x01));	\
	mid = _mm_xor_si128(mid, _mm_clmulepi64_si128(x, y, 0x10));	\
} while (0)

static __always_inline __m128i gf_mul(__m128i x, __m128i y)
{
	__m128i lo = _mm_setzero_si128(), mid = lo, hi = lo;

	GF_MUL(lo, mid, hi, x, y);
	return gf_reduce(lo, mid, hi);
}

/* one block through AES */
static __always_inline __m128i aes_one(const struct gcm_ctx *c, __m128i x)
{
	int i;

	x = _mm_xor_si128(x, KEY(c, 0));
	for (i = 1; i < c->rounds; i++)
		x = _mm_aesenc_si128(x, KEY(c, i));
	return _mm_aesenclast_si128(x, KEY(c, i));
}

static __always_inline __m128i ctr_block(struct gcm_state *s)
{
	return _mm_insert_epi32(s->iv, __builtin_bswap32(s->ctr++), 3);
}

static __always_inline void ghash_one(const struct gcm_ctx *c,
				      struct gcm_state *s, __m128i x)
{
	s->acc = gf_mul(_mm_xor_si128(s->acc, bswap128(x)), LD(c->h[0]));
}

/* eight blocks; in and out may be the same */
static __always_inline void crypt8(const struct gcm_ctx *c,
				   struct gcm_state *s, u8 *out, const u8 *in,
				   bool enc)
{
	__m128i b[8], k, x, lo = _mm_setzero_si128(), mid = lo, hi = lo;
	int i, r;

	k = KEY(c, 0);
#pragma GCC unroll 8
	for (i = 0; i < 8; i++)
		b[i] = _mm_xor_si128(ctr_block(s), k);
	for (r = 1; r < c->rounds; r++) {
		k = KEY(c, r);
#pragma GCC unroll 8
		for (i = 0; i < 8; i++)
			b[i] = _mm_aesenc_si128(b[i], k);
	}
	k = KEY(c, r);
#pragma GCC unroll 8
	for (i = 0; i < 8; i++) {
		x = LD(in + 16 * i);
		b[i] = _mm_xor_si128(_mm_aesenclast_si128(b[i], k), x);
		ST(out + 16 * i, b[i]);
		if (!enc)
			b[i] = x;
	}
#pragma GCC unroll 8
	for (i = 0; i < 8; i++) {
		x = bswap128(b[i]);
		if (!i)
			x = _mm_xor_si128(x, s->acc);
		k = LD(c->h[7 - i]);
		GF_MUL(lo, mid, hi, x, k);
	}
	s->acc = gf_reduce(lo, mid, hi);
}

/* any number of bytes, where the last call left off */
static void crypt_bytes(const struct gcm_ctx *c, struct gcm_state *s, u8 *out,
			const u8 *in, unsigned int n, bool enc)
{
	while (n) {
		if (!s->off) {
			while (n >= 128) {
				crypt8(c, s, out, in, enc);
				in += 128;
				out += 128;
				n -= 128;
			}
			while (n >= 16) {
				__m128i x = LD(in), y;

				y = _mm_xor_si128(x, aes_one(c, ctr_block(s)));
				ST(out, y);
				ghash_one(c, s, enc ? y : x);
				in += 16;
				out += 16;
				n -= 16;
			}
			if (!n)
				break;
			ST(s->ks, aes_one(c, ctr_block(s)));
		}
		while (n && s->off < 16) {
			u8 x = *in++, y = x ^ s->ks[s->off];

			*out++ = y;
			s->gb[s->off++] = enc ? y : x;
			n--;
		}
		if (s->off == 16) {
			ghash_one(c, s, LD(s->gb));
			s->off = 0;
		}
	}
}

/* the last block is padded with zeros */
static void gcm_flush(const struct gcm_ctx *c, struct gcm_state *s)
{
	if (s->off) {
		memset(s->gb + s->off, 0, 16 - s->off);
		ghash_one(c, s, LD(s->gb));
		s->off = 0;
	}
}

static int gcm_setkey(struct crypto_aead *tfm, const u8 *key, unsigned int len)
{
	struct gcm_ctx *c = crypto_aead_ctx(tfm);
	__m128i h, p;
	int i, r = aes_expandkey(&c->aes, key, len);

	if (r)
		return r;
	c->rounds = 6 + len / 4;
	p = h = bswap128(aes_one(c, _mm_setzero_si128()));
	for (i = 0; i < 8; i++) {
		ST(c->h[i], p);
		p = gf_mul(p, h);
	}
	return 0;
}

static int gcm_setauthsize(struct crypto_aead *tfm, unsigned int n)
{
	return crypto_gcm_check_authsize(n);
}

/*
 * The whole message: len bytes behind the associated data are encrypted or
 * decrypted from req->src to req->dst, and the tag computed.
 */
static void gcm_run(struct aead_request *req, unsigned int len, bool enc, u8 *tag)
{
	struct gcm_ctx *c = crypto_aead_ctx(crypto_aead_reqtfm(req));
	struct scatterlist ssg[2], dsg[2], *src, *dst;
	struct gcm_state s = { .ctr = 2 };
	struct scatter_walk w, d;
	unsigned int n, left;
	u8 iv[16];

	memcpy(iv, req->iv, 12);
	put_unaligned_be32(1, iv + 12);
	s.iv = LD(iv);
	s.acc = _mm_setzero_si128();

	scatterwalk_start(&w, req->src);
	for (left = req->assoclen; left; left -= n) {
		u8 *p, *q;
		unsigned int i;

		n = scatterwalk_clamp(&w, left);
		if (!n) {
			scatterwalk_start(&w, sg_next(w.sg));
			n = scatterwalk_clamp(&w, left);
		}
		p = q = scatterwalk_map(&w);
		for (i = 0; i < n; i++) {
			s.gb[s.off++] = *q++;
			if (s.off == 16) {
				ghash_one(c, &s, LD(s.gb));
				s.off = 0;
			}
		}
		scatterwalk_unmap(p);
		scatterwalk_advance(&w, n);
		scatterwalk_done(&w, 0, left - n);
	}
	gcm_flush(c, &s);

	src = scatterwalk_ffwd(ssg, req->src, req->assoclen);
	dst = req->src == req->dst ? src :
	      scatterwalk_ffwd(dsg, req->dst, req->assoclen);
	if (len) {
		scatterwalk_start(&w, src);
		scatterwalk_start(&d, dst);
	}
	for (left = len; left; left -= n) {
		u8 *p, *q;

		n = scatterwalk_clamp(&w, left);
		if (!n) {
			scatterwalk_start(&w, sg_next(w.sg));
			n = scatterwalk_clamp(&w, left);
		}
		if (!scatterwalk_clamp(&d, n))
			scatterwalk_start(&d, sg_next(d.sg));
		n = scatterwalk_clamp(&d, n);
		p = scatterwalk_map(&w);
		q = scatterwalk_map(&d);
		crypt_bytes(c, &s, q, p, n, enc);
		scatterwalk_unmap(q);
		scatterwalk_unmap(p);
		scatterwalk_advance(&w, n);
		scatterwalk_advance(&d, n);
		scatterwalk_done(&w, 0, left - n);
		scatterwalk_done(&d, 1, left - n);
	}
	gcm_flush(c, &s);
	put_unaligned_be64((u64)req->assoclen * 8, s.gb);
	put_unaligned_be64((u64)len * 8, s.gb + 8);
	ghash_one(c, &s, LD(s.gb));
	s.ctr = 1;
	ST(tag, _mm_xor_si128(bswap128(s.acc), aes_one(c, ctr_block(&s))));
	memzero_explicit(&s, sizeof(s));
}

static int gcm_encrypt(struct aead_request *req)
{
	unsigned int as = crypto_aead_authsize(crypto_aead_reqtfm(req));
	u8 tag[16];

	gcm_run(req, req->cryptlen, true, tag);
	scatterwalk_map_and_copy(tag, req->dst, req->assoclen + req->cryptlen,
				 as, 1);
	return 0;
}

static int gcm_decrypt(struct aead_request *req)
{
	unsigned int as = crypto_aead_authsize(crypto_aead_reqtfm(req));
	unsigned int len = req->cryptlen - as;
	u8 tag[16], got[16];

	scatterwalk_map_and_copy(got, req->src, req->assoclen + len, as, 0);
	gcm_run(req, len, false, tag);
	return crypto_memneq(tag, got, as) ? -EBADMSG : 0;
}

static struct aead_alg gcm_alg = {
	.setkey		= gcm_setkey,
	.setauthsize	= gcm_setauthsize,
	.encrypt	= gcm_encrypt,
	.decrypt	= gcm_decrypt,
	.ivsize		= GCM_AES_IV_SIZE,
	.chunksize	= 16,
	.maxauthsize	= 16,
	.base = {
		.cra_name		= "gcm(aes)",
		.cra_driver_name	= "gcm-aes-outboard",
		.cra_priority		= 500,
		.cra_blocksize		= 1,
		.cra_ctxsize		= sizeof(struct gcm_ctx),
		.cra_module		= THIS_MODULE,
	},
};

static int __init gcm_init(void)
{
	unsigned int a = 1, b, c, d;

	asm volatile("cpuid" : "+a" (a), "=b" (b), "=c" (c), "=d" (d));
	/* pclmul, ssse3, sse4.1, aes; without them the generic gcm(aes) serves */
	if ((c & (1 << 1)) && (c & (1 << 9)) && (c & (1 << 19)) && (c & (1 << 25)))
		return crypto_register_aead(&gcm_alg);
	return 0;
}
late_initcall(gcm_init);
