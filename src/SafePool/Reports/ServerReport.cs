using System.Collections.Immutable;
using System.Globalization;

namespace SafePool;

/// <summary>The connections of the pool's server at one moment: how many of how many, whose, and in what state.</summary>
/// <remarks>
/// <para>Only sessions of clients count: no background workers and no replication, which have slots of their own.</para>
/// <para>
/// A role that is neither superuser nor a member of <c>pg_monitor</c> (or <c>pg_read_all_stats</c>) does not see the state of other roles' sessions. They are counted all the
/// same, with a null for what is hidden, and their number is <see cref="Hidden"/>.
/// </para>
/// <para>Behind a pooler these are the figures of the server behind it, whose sessions the pooler holds; which of them serve this pool is not known then.</para>
/// </remarks>
public sealed record ServerReport
{
    /// <summary>Gets the name of the pool that has asked.</summary>
    public required string PoolName { get; init; }

    /// <summary>Gets the version of the server.</summary>
    public required Version ServerVersion { get; init; }

    /// <summary>Gets whether a pooler stands between the pool and the server.</summary>
    public required bool IsBehindPooler { get; init; }

    /// <summary>Gets <c>max_connections</c>.</summary>
    public required int MaxConnections { get; init; }

    /// <summary>Gets <c>superuser_reserved_connections</c>.</summary>
    public required int ReservedForSuperusers { get; init; }

    /// <summary>Gets <c>reserved_connections</c>, kept for members of <c>pg_use_reserved_connections</c>; 0 before PostgreSQL 16, which has no such thing.</summary>
    public required int ReservedForRoles { get; init; }

    /// <summary>Gets how many connections an ordinary role cannot have: both kinds together.</summary>
    public int Reserved => ReservedForSuperusers + ReservedForRoles;

    /// <summary>Gets the connection limit of the pool's database; null for none.</summary>
    public int? DatabaseLimit { get; init; }

    /// <summary>Gets the connection limit of the pool's role; null for none.</summary>
    public int? RoleLimit { get; init; }

    /// <summary>Gets how many connections clients have, this report's own included.</summary>
    public int Connections => Sessions.Length;

    /// <summary>Gets the percentage of <see cref="MaxConnections"/> in use, 0 to 100, not rounded.</summary>
    public double PercentUsed => 100.0 * Connections / MaxConnections;

    /// <summary>Gets how many more an ordinary role could open, by <see cref="MaxConnections"/> and <see cref="Reserved"/> alone.</summary>
    public int Available => Math.Max(0, MaxConnections - Reserved - Connections);

    /// <summary>Gets how many sessions do not show their state to the pool's role.</summary>
    public int Hidden => Sessions.Count(session => session.State is null);

    /// <summary>Gets how many are connections of this pool, leased or idle, without its control connection; null behind a pooler.</summary>
    public int? OfThisPool => IsBehindPooler ? null : Sessions.Count(session => session.Owner == SessionOwner.ThisPool);

    /// <summary>Gets how many others have this pool's application name: other instances, other pools, connections beside the pool.</summary>
    public int OthersOfThisApplication => Sessions.Count(session => session.Owner == SessionOwner.ThisApplication);

    /// <summary>Gets the connections by state, the most first.</summary>
    public ImmutableArray<ConnectionCount> ByState => CountBy(session => session.State);

    /// <summary>Gets the connections by database, the most first.</summary>
    public ImmutableArray<ConnectionCount> ByDatabase => CountBy(session => session.Database);

    /// <summary>Gets the connections by application name, the most first.</summary>
    public ImmutableArray<ConnectionCount> ByApplication => CountBy(session => session.Application);

    /// <summary>Gets the connections by role, the most first.</summary>
    public ImmutableArray<ConnectionCount> ByRole => CountBy(session => session.Role);

    /// <summary>Gets up to ten sessions that are idle outside of a transaction, the longest first.</summary>
    public ImmutableArray<ServerSession> OldestIdle => Longest(session => session.IsIdle);

    /// <summary>Gets up to ten sessions that are idle within a transaction, the longest first.</summary>
    public ImmutableArray<ServerSession> OldestIdleInTransaction => Longest(session => session.IsIdleInTransaction);

    /// <summary>Gets all sessions of clients, those first that have been in their state for the longest.</summary>
    public required ImmutableArray<ServerSession> Sessions { get; init; }

    /// <summary>The figures in one line, for a log.</summary>
    /// <returns>A sentence or a few.</returns>
    public override string ToString()
    {
        var ours = OfThisPool is { } known ? string.Create(CultureInfo.InvariantCulture, $"{known} of this pool") : "those of this pool not known behind a pooler";
        var idle = OldestIdle is [var first, ..] ? $" Longest idle: {first}." : "";
        var inTransaction = OldestIdleInTransaction is [var worst, ..] ? $" Longest idle in transaction: {worst}." : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"Server of pool '{PoolName}': {Connections} of {MaxConnections} connections in use ({PercentUsed:0.#} %), {Reserved} reserved, {Available} available; {ours}, {OthersOfThisApplication} others of its application. By state: {string.Join(", ", ByState)}. By application: {string.Join(", ", ByApplication)}.{idle}{inTransaction}");
    }

    private ImmutableArray<ServerSession> Longest(Func<ServerSession, bool> isMeant) => [.. Sessions.Where(isMeant).Take(10)];

    private ImmutableArray<ConnectionCount> CountBy(Func<ServerSession, string?> key)
        => [.. Sessions
            .GroupBy(key)
            .Select(group => new ConnectionCount(group.Key, group.Count()))
            .OrderByDescending(count => count.Count)
            .ThenBy(count => count.Name, StringComparer.Ordinal)];
}
