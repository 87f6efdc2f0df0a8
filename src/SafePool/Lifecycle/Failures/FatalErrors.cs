using System.Globalization;
using Npgsql;

namespace SafePool.Lifecycle.Failures;

/// <summary>The last errors with which servers broke sessions of this process, so that a log line about a broken connection can name the SQLSTATE.</summary>
/// <remarks>
/// Npgsql throws such an error where the command ran, and keeps no trace of it on the connection that comes back. So whose it was is not known, only when it was; the words say no more.
/// Thread-safety: every member may be called from any thread. Never the text of a message: it may quote data.
/// </remarks>
internal static class FatalErrors
{
    private const int Remembered = 16;

    // Refusals of a connection that is just being opened: no lease breaks by them.
    private static readonly string[] _refusals = ["28", "3D", PostgresErrorCodes.TooManyConnections, PostgresErrorCodes.CannotConnectNow];

    // Npgsql breaks the connection itself when it meets one of these, whatever the server does; 08P01 by its full name.
    private static readonly string[] _critical = ["53", "57P01", "57P02", "57P03", "58", "F0", "XX", PostgresErrorCodes.ProtocolViolation];

    private static readonly Lock _gate = new();
    private static readonly FatalError[] _ring = new FatalError[Remembered];
    private static int _count;

    /// <summary>Whether the session of a command that fails with it is at its end.</summary>
    public static bool IsFatal(PostgresException error)
        => error.InvariantSeverity is "FATAL" or "PANIC" || StartsWithAny(error.SqlState, _critical);

    /// <summary>Remembers one. True the first time: each await throws it again.</summary>
    public static bool TryNote(PostgresException error)
    {
        if (StartsWithAny(error.SqlState, _refusals))
        {
            return false;
        }

        lock (_gate)
        {
            foreach (var known in _ring)
            {
                if (known.Error?.TryGetTarget(out var other) is true && ReferenceEquals(other, error))
                {
                    return false;
                }
            }

            _ring[_count % Remembered] = new FatalError(new(error), error.SqlState, error.InvariantSeverity, error.Routine, TimeProvider.System.GetTimestamp());
            _count++;
            return true;
        }
    }

    /// <summary>A sentence about the newest one.</summary>
    /// <param name="within">Older ones have nothing to do with it.</param>
    public static string Describe(TimeSpan within)
    {
        lock (_gate)
        {
            if (_count > 0 && _ring[(_count - 1) % Remembered] is var newest && TimeProvider.System.GetElapsedTime(newest.At) is var age && age <= within)
            {
                return string.Create(
                    CultureInfo.InvariantCulture,
                    $"The last error by which a session of this process broke: {Name(newest.SqlState, newest.Severity, newest.Routine)}, {age.TotalMilliseconds:F0} ms before.");
            }
        }

        return "No error of the server was seen with it: it was cut off, or did not answer.";
    }

    /// <summary>The same about an error that is known.</summary>
    public static string Describe(Exception error)
    {
        for (var cause = error; cause is not null; cause = cause.InnerException)
        {
            if (cause is PostgresException server)
            {
                return $"The server's last word was {Name(server.SqlState, server.InvariantSeverity, server.Routine)}.";
            }
        }

        return "No error of the server was seen with it: it was cut off, or did not answer.";
    }

    private static string Name(string sqlState, string severity, string? routine)
        => $"SQLSTATE {sqlState} ({severity}{(routine is null ? "" : ", " + routine)})";

    private static bool StartsWithAny(string sqlState, string[] beginnings)
    {
        foreach (var beginning in beginnings)
        {
            if (sqlState.StartsWith(beginning, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    private readonly record struct FatalError(WeakReference<PostgresException>? Error, string SqlState, string Severity, string? Routine, long At);
}
