using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion;

/// <summary>Runs scenarios, each side of each on a fresh pool.</summary>
internal sealed class Replay(Server server, Action<string> progress, Action<string> done)
{
    private static readonly TimeSpan PatienceWithSessions = TimeSpan.FromSeconds(3);

    public async Task<IReadOnlyList<Outcome>> RunAsync(IReadOnlyList<Scenario> scenarios)
    {
        var outcomes = new List<Outcome>();
        foreach (var scenario in scenarios)
        {
            await scenario.PrepareAsync(server);
            try
            {
                foreach (var contender in scenario.Contenders)
                {
                    outcomes.Add(await RunAsync(scenario, contender, $"exhaustion-{Environment.ProcessId}-{outcomes.Count}"));
                }
            }
            finally
            {
                await scenario.CleanUpAsync(server);
            }
        }

        return outcomes;
    }

    private async Task<Outcome> RunAsync(Scenario scenario, Contender contender, string applicationName)
    {
        var title = $"{scenario.Title}, {contender.Name}";
        progress(title);
        var begun = TimeProvider.System.GetTimestamp();
        var size = await FitAsync(scenario.Size);
        var tally = new Tally(state => progress($"{title}: {state}"));
        var side = contender.Create(server.ConnectionString(applicationName, size.Places, size.AcquireTimeout), size);
        Outcome outcome;
        try
        {
            await scenario.RunAsync(side, size, tally);
            var placesBack = await RollCall.CountAsync(side, size.Places);
            outcome = new Outcome(scenario, contender, size, tally, TimeProvider.System.GetElapsedTime(begun))
            {
                PlacesBack = placesBack,
                Loss = await side.FindLossAsync(),
                Recovered = side.Recovered,
                Message = tally.Message ?? side.Warning,
                SessionsLeft = 0,
            };
        }
        finally
        {
            await side.DisposeAsync();
        }

        // Raw Npgsql never ends what it has lost, and the next side needs the room.
        var patience = contender.MustLoseNothing ? PatienceWithSessions : TimeSpan.Zero;
        outcome = outcome with { SessionsLeft = await server.EndSessionsAsync(applicationName, patience) };
        done($"{title}: {tally.Served:N0} served, {tally.Failed:N0} failed, {outcome.Elapsed.TotalSeconds:0.0} s");
        return outcome;
    }

    private async Task<PoolSize> FitAsync(PoolSize size)
    {
        var room = await server.RoomAsync();
        if (room >= size.Places)
        {
            return size;
        }

        done($"The server has room for a pool of {room}, not of {size.Places}.");
        return size with { Places = Math.Max(1, room) };
    }
}
