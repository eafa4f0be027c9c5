// SPDX-License-Identifier: MIT
package dev.outboard.relay;

import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedKeyManager;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Whom one connection accepts at its other end: the holder of one of these public keys, whatever
 * else a certificate says. That the other end holds the private key, TLS sees to.
 *
 * <p>For one connection alone: nothing is remembered that would let another one do without keys.
 */
final class Trust extends X509ExtendedTrustManager {
  private final List<PeerKey> accepted;
  private volatile @Nullable PeerKey seen;
  private volatile @Nullable PeerKey matched;

  Trust(List<PeerKey> accepted) {
    this.accepted = List.copyOf(accepted);
  }

  /** The engine for a connection. */
  SSLEngine engine(Identity own, boolean client) throws GeneralSecurityException {
    SSLContext context = SSLContext.getInstance("TLSv1.3");
    context.init(new KeyManager[] {new OwnKey(own)}, new TrustManager[] {this}, null);
    SSLEngine engine = context.createSSLEngine();
    engine.setUseClientMode(client);
    SSLParameters parameters = engine.getSSLParameters();
    parameters.setProtocols(new String[] {"TLSv1.3"});
    parameters.setCipherSuites(
        new String[] {"TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"});
    parameters.setNamedGroups(new String[] {"x25519", "secp256r1"});
    if (!client) {
      parameters.setNeedClientAuth(true);
    }
    engine.setSSLParameters(parameters);
    return engine;
  }

  /**
   * The key that the other end showed, which it need not hold; null before it has, or if it is
   * none.
   */
  @Nullable PeerKey seen() {
    return seen;
  }

  /** The accepted key that the other end has shown; after the handshake, who it is. */
  @Nullable PeerKey matched() {
    return matched;
  }

  private void check(X509Certificate[] chain) throws CertificateException {
    if (chain == null || chain.length == 0) {
      throw new CertificateException("no key was shown");
    }
    PeerKey shown = PeerKey.parse(PeerKey.of(chain[0].getPublicKey(), "").line());
    seen = shown;
    if (shown != null) {
      for (PeerKey key : accepted) {
        if (key.sameKey(shown)) {
          matched = key;
          return;
        }
      }
    }
    throw new CertificateException("the key that was shown is not known");
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String type) throws CertificateException {
    check(chain);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String type) throws CertificateException {
    check(chain);
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket)
      throws CertificateException {
    check(chain);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket)
      throws CertificateException {
    check(chain);
  }

  @Override
  public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine)
      throws CertificateException {
    check(chain);
  }

  @Override
  public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine)
      throws CertificateException {
    check(chain);
  }

  @Override
  public X509Certificate[] getAcceptedIssuers() {
    return new X509Certificate[0];
  }

  /** The one key that this machine has. */
  private static final class OwnKey extends X509ExtendedKeyManager {
    private static final String ALIAS = "identity";
    private static final String TYPE = "EC";

    private final PrivateKey key;
    private final X509Certificate certificate;

    OwnKey(Identity identity) {
      this.key = identity.privateKey();
      this.certificate = identity.certificate();
    }

    private static @Nullable String choose(String... types) {
      return types != null && List.of(types).contains(TYPE) ? ALIAS : null;
    }

    @Override
    public @Nullable String chooseEngineClientAlias(
        String[] types, Principal[] issuers, SSLEngine engine) {
      return choose(types);
    }

    @Override
    public @Nullable String chooseEngineServerAlias(
        String type, Principal[] issuers, SSLEngine engine) {
      return choose(type);
    }

    @Override
    public @Nullable String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
      return choose(types);
    }

    @Override
    public @Nullable String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
      return choose(type);
    }

    @Override
    public String[] getClientAliases(String type, Principal[] issuers) {
      return new String[] {ALIAS};
    }

    @Override
    public String[] getServerAliases(String type, Principal[] issuers) {
      return new String[] {ALIAS};
    }

    @Override
    public X509Certificate[] getCertificateChain(String alias) {
      return new X509Certificate[] {certificate};
    }

    @Override
    public PrivateKey getPrivateKey(String alias) {
      return key;
    }
  }
}
