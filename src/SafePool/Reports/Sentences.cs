using System.Globalization;
using SafePool.Diagnostics;

namespace SafePool.Reports;

/// <summary>Every sentence that an exception says: what happened, the numbers, what to do.</summary>
internal static class Sentences
{
    public const string LeaseReturned =
        "This lease has been returned. Its connection may be serving somebody else; rent another one.";

    public static string OpenedAfterReturn(string pool)
        => $"Pool '{pool}': this connection went back to the pool when it was closed, and cannot be opened again. Open another one with OpenConnectionAsync; for another database have a pool of its own.";

    public static string OpenedPastThePool(string pool)
        => $"Pool '{pool}': the connection of a lease cannot be opened past the pool, nor lead elsewhere: ChangeDatabase, another ConnectionString, or an open after Close when its session has ended, or is somebody else's by now. "
            + "Rent again, and have a pool for each database.";

    public static string TransactionEnded(string pool, bool isCommitted)
        => $"Pool '{pool}': the transaction in which this lease was rented has {(isCommitted ? "been committed" : "been rolled back, or has run out of time")}, and what is done on it now would be in none. "
            + "Return the lease before the scope ends, and rent another one.";

    public static string Exhausted(PoolSnapshot pool, TimeSpan waited, Diagnosis diagnosis)
        => $"Pool '{pool.Name}' exhausted: waited {Duration(waited)}; {Counts(pool)}. {DiagnosisSentences.Describe(diagnosis)}{Longest(pool)}";

    public static string Rejected(PoolSnapshot pool, int maxWaiters, Diagnosis diagnosis)
        => $"Pool '{pool.Name}' rejected the rent: {Counts(pool)}, and MaxWaiters is {maxWaiters}. {DiagnosisSentences.Describe(diagnosis)}{Longest(pool)}";

    public static string Paused(PoolSnapshot pool, TimeSpan waited)
        => waited == TimeSpan.Zero
            ? $"Pool '{pool.Name}' is paused for maintenance, and rejected the rent: {Counts(pool)}. Resume() lets callers in again."
            : $"Pool '{pool.Name}' is paused for maintenance: waited {Duration(waited)}; {Counts(pool)}. Resume() lets callers in again.";

    public static string ConnectTimeout(PoolSnapshot pool, AcquirePhase phase, TimeSpan waited, Diagnosis diagnosis)
    {
        var wait = phase switch
        {
            AcquirePhase.Opening => "for a connection to open",
            AcquirePhase.Probing => "for the sign of life of a connection that had been idle",
            _ => "for a connection, and none could be opened",
        };
        return $"Pool '{pool.Name}' could not connect in time: waited {Duration(waited)} {wait}; {Counts(pool)}. {DiagnosisSentences.Describe(diagnosis)}";
    }

    public static string CircuitOpen(PoolSnapshot pool, TimeSpan failingFor, TimeSpan retryAfter, Exception? lastFailure)
    {
        var cause = lastFailure is { } error ? $" Last failure: {error.Message}" : "";
        return $"Pool '{pool.Name}' cannot connect: no open has succeeded for {Duration(failingFor)}, so rents fail at once; {Counts(pool)}. Next attempt in {Duration(retryAfter)}.{cause}";
    }

    public static string Closed(PoolSnapshot pool)
        => $"Pool '{pool.Name}' is closed: it was drained or disposed, and serves no more leases.";

    public static string ServerNotAsked(PoolSnapshot pool, string task, int terminated, Exception cause, bool isFull, bool isElsewhere)
    {
        var done = terminated > 0 ? string.Create(CultureInfo.InvariantCulture, $" {terminated} sessions had been terminated before.") : "";
        var remedy = isFull
            ? " It has no room for one more connection: ask as a superuser, for whom it keeps some."
            : "";
        var met = isElsewhere ? "" : " its control connection got no answer from the server.";
        return $"Pool '{pool.Name}' could not {task}:{met} {cause.Message}{remedy}{done}";
    }

    public static string NoApplicationName(string pool)
        => $"Pool '{pool}' has no application name, so its sessions cannot be told from those of others. Say 'Application Name' in the connection string, or name the application whose sessions are meant.";

    public static string Describe(LeaseHolder holder)
    {
        var label = holder.Label is { } word ? $" '{word}'" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"lease {holder.LeaseId}{label}, {Duration(holder.Held)}, rented at {Site(holder)}{Marks(holder)}");
    }

    public static string Site(LeaseHolder holder) => Site(holder.File, holder.Line, holder.Member);

    public static string Site(string file, int line, string member)
        => file.Length == 0 ? (string.IsNullOrEmpty(member) ? "an unknown line" : member) : string.Create(CultureInfo.InvariantCulture, $"{file}:{line} ({member})");

    /// <summary>A name from the code as words: <c>OpenFailed</c> is "open failed".</summary>
    public static string Name<T>(T value)
        where T : struct, Enum
        => string.Concat(value.ToString().Select((letter, at) => char.IsUpper(letter) ? (at == 0 ? "" : " ") + char.ToLowerInvariant(letter) : letter.ToString()));

    public static string Duration(TimeSpan time) => time switch
    {
        { TotalMilliseconds: < 1000 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0} ms"),
        { TotalSeconds: < 60 } => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.0} s"),
        { TotalMinutes: < 60 } => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalMinutes} min {time.Seconds} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours} h {time.Minutes} min"),
    };

    private static string Counts(PoolSnapshot pool)
    {
        var idle = pool.Idle > 0 ? string.Create(CultureInfo.InvariantCulture, $", {pool.Idle} idle") : "";
        var quarantined = pool.Quarantined > 0 ? string.Create(CultureInfo.InvariantCulture, $", {pool.Quarantined} quarantined") : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{pool.Leased} of {pool.MaxSize} leased{idle}, {pool.Opening} opening{quarantined}, {pool.Waiting} waiting");
    }

    private static string Longest(PoolSnapshot pool)
        => pool.Holders.IsEmpty
            ? ""
            : string.Create(CultureInfo.InvariantCulture, $" Longest: lease {pool.Holders[0].LeaseId}, {Duration(pool.Holders[0].Held)}{Marks(pool.Holders[0])}.");

    private static string Marks(LeaseHolder holder)
    {
        var backend = holder.BackendProcessId is { } pid ? string.Create(CultureInfo.InvariantCulture, $", pid {pid}") : "";
        var trace = holder.TraceId is { } id ? $", trace {id}" : "";
        return backend + trace;
    }
}
