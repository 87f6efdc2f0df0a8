using System.Data.Common;
using System.Net.Sockets;
using System.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using Npgsql;
using SafePool.Driver.Poolers;

namespace SafePool.Driver;

/// <summary>Reads what an open has failed with: does it prove that waiting is in vain? Is it an answer?</summary>
/// <remarks>What an open throws need not be an <see cref="NpgsqlException"/>: it connects, logs in, and runs code of the user's.</remarks>
internal static class OpenFailures
{
    /// <summary>What it proves. Poolers say in words what they mean, with a SQLSTATE that says something else, so they come first.</summary>
    public static OpenFailureKind KindOf(Exception error) => PoolerErrors.IsCurable(error) switch
    {
        true => OpenFailureKind.Curable,
        false => OpenFailureKind.RefusedForGood,
        null => Judge(error),
    };

    /// <summary>What the server, or a pooler, has answered; null when there was no answer. Of several hosts the first that has.</summary>
    public static PostgresException? AnswerIn(Exception error) => error switch
    {
        PostgresException answer => answer,
        AggregateException hosts => hosts.InnerExceptions.Select(AnswerIn).FirstOrDefault(answer => answer is not null),
        NpgsqlException { InnerException: { } cause } => AnswerIn(cause),
        _ => null,
    };

    /// <summary>Somebody is there and refuses this one connection, for now and whatever the words. To a pool that has others it is a limit, and no outage.</summary>
    /// <remarks>Not when the answer is that the server goes down or comes up: then the others are dying, or have died and nobody has noticed yet.</remarks>
    public static bool IsRefusedForNow(Exception error)
        => AnswerIn(error) is { } answer
            && KindOf(error) == OpenFailureKind.Curable
            && answer.SqlState is not (PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow)
            && PoolerErrors.KindOf(answer) != PoolerErrorKind.ServerLost;

    /// <summary>The answer says itself that there is no room for one more; of others that refuse one for now nobody knows why.</summary>
    public static bool SaysFull(Exception error)
        => SqlStates.IsServerFull(error) || (AnswerIn(error) is { } answer && PoolerErrors.KindOf(answer) == PoolerErrorKind.Busy);

    /// <summary>Of an open that had connected: whether the user's hook has failed in a way of its own, and not by anything that happens on the way to a server.</summary>
    public static bool IsOfHook(Exception error)
        => error is not (DbException or IOException or SocketException or TimeoutException or OperationCanceledException or AggregateException or AuthenticationException
                or HttpRequestException)
            && (error.InnerException is null || IsOfHook(error.InnerException));

    private static OpenFailureKind Judge(Exception error) => error switch
    {
        PostgresException answer => InVain.OfAnswer(answer.SqlState, answer.MessageText),
        AggregateException { InnerExceptions: { Count: > 0 } hosts } => OfAll(hosts),
        AuthenticationException or IOException when InVain.OfHandshake(error) is var verdict and not OpenFailureKind.Curable => verdict,
        AuthenticationException => OpenFailureKind.Curable,
        FileNotFoundException or DirectoryNotFoundException => OpenFailureKind.FaultHere,

        // Whatever is inside: the way to the server, or the server, has failed.
        IOException => OpenFailureKind.Curable,
        NpgsqlException or TypeInitializationException when error.InnerException is { } cause => KindOf(cause),
        NpgsqlException or NotSupportedException when InVain.OfDriverWords(error.Message) is var verdict and not OpenFailureKind.Curable => verdict,
        _ when IsOfCodeOrConfiguration(error) => OfCallback(error),
        _ => OpenFailureKind.Curable,
    };

    /// <summary>One error for each host: in vain only when each of them proves it.</summary>
    private static OpenFailureKind OfAll(IReadOnlyCollection<Exception> hosts)
    {
        var kinds = hosts.Select(KindOf).ToHashSet();
        return kinds.Contains(OpenFailureKind.Curable) ? OpenFailureKind.Curable
            : kinds.Contains(OpenFailureKind.RefusedForGood) ? OpenFailureKind.RefusedForGood
            : OpenFailureKind.FaultHere;
    }

    /// <summary>Code of the user's may meet an outage of its own, such as that of a token service, and say so in words of its own.</summary>
    private static OpenFailureKind OfCallback(Exception error)
        => error.InnerException is { } cause && KindOf(cause) == OpenFailureKind.Curable ? OpenFailureKind.Curable : OpenFailureKind.FaultHere;

    private static bool IsOfCodeOrConfiguration(Exception error) => error switch
    {
        // Given up by another flow: the end of a connection, not of a pool.
        ObjectDisposedException gone => !gone.ObjectName.EndsWith("Socket", StringComparison.Ordinal) && !gone.ObjectName.EndsWith("Stream", StringComparison.Ordinal),
        ArgumentException or InvalidOperationException or NotSupportedException or NotImplementedException => true,
        FormatException or InvalidCastException or ArithmeticException => true,
        NullReferenceException or IndexOutOfRangeException or KeyNotFoundException => true,

        // A certificate or key that is not there, not readable, or broken.
        UnauthorizedAccessException or SecurityException or CryptographicException => true,
        TypeLoadException or MissingMemberException or BadImageFormatException => true,
        _ => false,
    };
}
