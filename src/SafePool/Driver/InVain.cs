using SafePool.Driver.Poolers;

namespace SafePool.Driver;

/// <summary>The one list of what proves that waiting for a connection is in vain. What is not on it is ridden through.</summary>
/// <remarks>The words are those of Npgsql 10, of .NET 10 and of OpenSSL 3; none of them is translated. What poolers say is in <see cref="PoolerWords"/>.</remarks>
internal static class InVain
{
    /// <summary>Answers of a server, by SQLSTATE or its class.</summary>
    public static IReadOnlyList<InVainReason> States { get; } =
    [
        Refused("0A000", "the server lacks the protocol version or feature that was asked for"),
        Refused("22", "a value is wrong, such as a setting in the start-up options"),
        Refused("28", "the user, the password or the address is not admitted"),
        Refused("3D000", "there is no such database"),
        Refused("3F000", "there is no such schema"),
        Refused("42501", "the role lacks a right, such as CONNECT on the database"),
        Refused("42601", "a statement is malformed"),
        Refused("42602", "a name is malformed"),
        Refused("42703", "there is no such column"),
        Refused("42704", "there is no such setting, role or type"),
        Refused("42883", "there is no such function"),
        Refused("42P01", "there is no such table"),
        Refused("42P02", "there is no such parameter"),
        Refused("55P02", "the setting cannot be changed by a session"),
    ];

    /// <summary>Words that take such an answer back, whatever its state: who says them means that it will pass. Poolers say under 28000 and 3D000 that their own server is away.</summary>
    /// <remarks>Whole words, and not within double quotes: those are names.</remarks>
    public static IReadOnlyList<string> TakenBackBy { get; } =
    [
        "again later",
        "temporarily",
        "temporary failure",
        "unavailable",
        "timeout",
        "timed out",
        "not ready",
        "starting up",
        "shutting down",
        "under maintenance",
        "overloaded",
        "too many connections",
        "too many requests",
        "connection refused",
        "could not connect",
        "unable to connect",
        "failed to connect",
        "failed to make auth query",
    ];

    /// <summary>Parts of what Npgsql says of an answer that it cannot or must not go on with.</summary>
    public static IReadOnlyList<InVainReason> DriverWords { get; } =
    [
        Refused("SSL connection requested. No SSL enabled", "the server does not encrypt, and the connection string insists"),
        Refused("GGS encryption requested. No GSS", "the server does not encrypt by GSS, and the connection string insists"),
        Refused("No password has been provided", "the server wants a password, and the connection string has none"),
        Refused("Couldn't connect because ChannelBinding", "the server and the connection string disagree about channel binding"),
        Refused("No supported SASL mechanism found", "the server and Npgsql have no way to log in in common"),
        Refused("Unable to bind to SCRAM-SHA-256-PLUS", "channel binding is not possible with this certificate"),
        Refused("[SCRAM] Unable to verify server signature", "the server does not know the password itself"),
        Refused("Server offered SCRAM-SHA-256-PLUS authentication over a non-SSL", "somebody stands between who should not"),
        Refused("Authentication method not supported", "Npgsql cannot log in as the server wants it"),
        Refused("GSS encryption isn't supported over unix socket", "the connection string insists on an encryption that a socket file has not"),
        Refused("authentication method is not allowed. Allowed methods:", "the server asks for a way to log in that 'Require Auth' rules out"),
        Here("No username could be found", "the connection string has no user name, and the system tells none"),
    ];

    /// <summary>Parts of what .NET and OpenSSL say when one side has judged the other's certificate or protocol.</summary>
    public static IReadOnlyList<InVainReason> HandshakeWords { get; } =
    [
        Refused("remote certificate is invalid", "the server's certificate is not trusted here"),
        Refused("remote certificate was rejected", "the server's certificate is not trusted here"),
        Refused("certificate verify failed", "the server's certificate is not trusted here"),
        Refused("TLS alert: 'HandshakeFailure", "the server and the client have nothing in common"),
        Refused("TLS alert: 'ProtocolVersion", "the server does not speak this version of TLS"),
        Refused("TLS alert: 'InsufficientSecurity", "the server wants a stronger cipher"),
        Refused("TLS alert: 'BadCertificate", "the server does not take the client's certificate"),
        Refused("TLS alert: 'UnsupportedCert", "the server does not take the client's certificate"),
        Refused("TLS alert: 'Certificate", "the server does not take the client's certificate, or wants one"),
        Refused("TLS alert: 'UnknownCA", "the server does not trust the client's certificate"),
        Refused("TLS alert: 'AccessDenied", "the server does not take the client's certificate"),
        Refused("alert handshake failure", "the server and the client have nothing in common"),
        Refused("alert protocol version", "the server does not speak this version of TLS"),
        Refused("alert insufficient security", "the server wants a stronger cipher"),
        Refused("alert no application protocol", "the server does not speak PostgreSQL over TLS"),
        Refused("alert bad certificate", "the server does not take the client's certificate"),
        Refused("alert unsupported certificate", "the server does not take the client's certificate"),
        Refused("alert certificate", "the server does not take the client's certificate, or wants one"),
        Refused("alert unknown ca", "the server does not trust the client's certificate"),
        Refused("alert access denied", "the server does not take the client's certificate"),
        Refused("unsupported protocol", "the server speaks no version of TLS that is allowed here"),
        Refused("no protocols available", "no version of TLS is allowed here"),
        Refused("no ciphers available", "no cipher is allowed here"),
        Refused("key too small", "the server's key is too weak for the policy here"),
    ];

    public static OpenFailureKind OfAnswer(string sqlState, string text)
        => KindOf(States, sign => sqlState.StartsWith(sign, StringComparison.Ordinal)) is var kind and not OpenFailureKind.Curable && !IsTakenBack(text)
            ? kind
            : OpenFailureKind.Curable;

    public static OpenFailureKind OfDriverWords(string message) => KindOf(DriverWords, sign => message.Contains(sign, StringComparison.Ordinal));

    /// <summary>Of a handshake only a verdict proves something: not silence, not an end, not bytes that make no sense.</summary>
    public static OpenFailureKind OfHandshake(Exception error)
        => error.InnerException is { } cause && OfHandshake(cause) is var deeper and not OpenFailureKind.Curable
            ? deeper
            : KindOf(HandshakeWords, sign => error.Message.Contains(sign, StringComparison.OrdinalIgnoreCase));

    private static bool IsTakenBack(string text)
    {
        var parts = text.Split('"');
        var isClosed = parts.Length % 2 == 1;

        // Every other part is a name; the last one is not, if its quote is never closed.
        return parts.Where((_, at) => at % 2 == 0 || (!isClosed && at == parts.Length - 1)).Any(said => TakenBackBy.Any(words => HasWords(said, words)));
    }

    private static bool HasWords(string text, string words)
    {
        for (var at = 0; (at = text.IndexOf(words, at, StringComparison.OrdinalIgnoreCase)) >= 0; at++)
        {
            if (!IsOfWord(at - 1) && !IsOfWord(at + words.Length))
            {
                return true;
            }
        }

        return false;

        bool IsOfWord(int index) => index >= 0 && index < text.Length && (char.IsLetterOrDigit(text[index]) || text[index] == '_');
    }

    private static OpenFailureKind KindOf(IReadOnlyList<InVainReason> reasons, Func<string, bool> isThere)
        => reasons.FirstOrDefault(reason => isThere(reason.Sign))?.Kind ?? OpenFailureKind.Curable;

    private static InVainReason Refused(string sign, string why) => new(OpenFailureKind.RefusedForGood, sign, why);

    private static InVainReason Here(string sign, string why) => new(OpenFailureKind.FaultHere, sign, why);
}
