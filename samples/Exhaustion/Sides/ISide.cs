using System.Runtime.CompilerServices;

namespace SafePool.Samples.Exhaustion.Sides;

/// <summary>A pool under test. The scenarios know no more of it than this.</summary>
internal interface ISide : IAsyncDisposable
{
    /// <summary>Gets how many lost connections it has taken back.</summary>
    long Recovered { get; }

    /// <summary>Gets the first warning it logged.</summary>
    string? Warning { get; }

    /// <summary>Rents a connection; the caller's own line is what a report about it should name.</summary>
    Task<Rented> RentAsync(
        [CallerMemberName] string member = "",
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0);

    /// <summary>Once everybody is done: which of its places it has not got back, by its own account. Null when nothing is missing.</summary>
    Task<string?> FindLossAsync();
}
