namespace SafePool.Benchmarks.Contests;

/// <summary>Contenders that take turns in one process, round by round, and are compared by their medians: for machines that are not quiet.</summary>
/// <param name="Arena">Where it takes place.</param>
/// <param name="Name">Its name in tables and in the budget.</param>
/// <param name="Workers">How many ask at once.</param>
/// <param name="Contenders">The first is the one that the others are compared with.</param>
internal sealed record Contest(Arena Arena, string Name, int Workers, IReadOnlyList<Contender> Contenders) : IAsyncDisposable
{
    // Until then the compiler is at work as well, on the same processors: more so for whoever has more code.
    private static readonly TimeSpan _warmUp = TimeSpan.FromSeconds(2);

    public int Rounds { get; init; } = 60;

    public TimeSpan Turn { get; init; } = TimeSpan.FromMilliseconds(100);

    public bool MeasuresLatency { get; init; }

    public async Task<IReadOnlyList<Standing>> RunAsync()
    {
        var turns = Contenders.Select(_ => new List<Turn>()).ToArray();
        var warmUpRounds = (int)Math.Ceiling(_warmUp / Turn);
        for (var round = 0; round < warmUpRounds + Rounds; round++)
        {
            for (var i = 0; i < turns.Length; i++)
            {
                // In another order each time: whoever comes after a collection of another's garbage is not always the same.
                var at = (i + round) % turns.Length;
                var turn = await ClosedLoop.RunAsync(Contenders[at].Workers ?? Workers, Turn, Contenders[at].Operate, Arena.ServerProcessor, MeasuresLatency);
                if (round >= warmUpRounds)
                {
                    turns[at].Add(turn);
                }
            }
        }

        return [.. Contenders.Select((contender, i) => new Standing(contender.Name, turns[i], turns[0]))];
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var contender in Contenders)
        {
            await contender.DisposeAsync();
        }
    }
}
