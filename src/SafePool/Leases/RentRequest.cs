using System.Diagnostics;
using System.Transactions;
using Npgsql;

namespace SafePool.Leases;

/// <summary>A rent that was not served at once: what was asked for, and what could only be found out on the caller's own stack.</summary>
/// <param name="Site">Where it stands in the source.</param>
/// <param name="Options">What it does differently.</param>
/// <param name="Blocking">The caller blocks.</param>
/// <param name="Who">What a verdict recognises it by while it waits: its <see cref="RentFlow"/>, or else its <see cref="Activity"/>.</param>
/// <param name="Calls">The calls that led to it, where they are wanted.</param>
/// <param name="Ambient">The transaction that it belongs to.</param>
/// <param name="CancellationToken">The caller's.</param>
internal readonly record struct RentRequest(
    RentSite Site, RentOptions? Options, bool Blocking, object? Who, StackTrace? Calls, Transaction? Ambient, CancellationToken CancellationToken)
{
    public RentFlow? Flow => Who as RentFlow;

    /// <summary>The closed object of the caller's own that shall be opened, rather than a new one.</summary>
    public NpgsqlConnection? Onto { get; init; }

    /// <summary>Where a refusal goes that shall not be thrown.</summary>
    public RefusalNote? Refused { get; init; }
}
