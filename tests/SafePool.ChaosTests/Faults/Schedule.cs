namespace SafePool.ChaosTests.Faults;

/// <summary>An endless row of episodes that follows from a seed.</summary>
internal sealed class Schedule
{
    private readonly Random _random;
    private readonly Deck _network;
    private readonly Deck _server;
    private int _dealt;

    /// <param name="seed">Of everything that is drawn.</param>
    /// <param name="withPooler">There is a pooler, which fails as well.</param>
    /// <param name="only">The beginnings of the names of the faults that are wanted; all by default.</param>
    public Schedule(int seed, bool withPooler = false, string[]? only = null)
    {
        _random = new Random(seed);
        _network = new Deck(_random, Wanted(Deck.Network, only));
        _server = new Deck(_random, Wanted(withPooler ? [.. Deck.Server, .. Deck.Pooler] : Deck.Server, only));
        if (_network.IsEmpty && _server.IsEmpty)
        {
            throw new ArgumentException($"No fault has a name that begins with {string.Join(" or ", only!)}.", nameof(only));
        }
    }

    /// <summary>One fault of the network or one of the server, or one of each; never two of a kind, which could not heal apart.</summary>
    public Episode Next()
    {
        var draw = _random.Next(4);
        List<Fault> faults = [];
        if (!_server.IsEmpty && (draw >= 1 || _network.IsEmpty))
        {
            faults.Add(_server.Deal());
        }

        if (!_network.IsEmpty && (draw != 2 || _server.IsEmpty))
        {
            faults.Add(_network.Deal());
        }

        return new Episode(++_dealt, faults, _random.Milliseconds(50, 3000));
    }

    private static Func<Random, Fault>[] Wanted(Func<Random, Fault>[] kinds, string[]? only)
        => only is null ? kinds : [.. kinds.Where(kind => only.Any(word => NameOf(kind).StartsWith(word, StringComparison.Ordinal)))];

    private static string NameOf(Func<Random, Fault> kind) => kind(new Random(0)).GetType().Name;
}
