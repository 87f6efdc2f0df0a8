using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>What a method does with the local variable that keeps what it rented.</summary>
internal static class LeaseLocal
{
    private const int MostAliases = 4;

    /// <param name="local">The variable.</param>
    /// <param name="acquired">The declaration, assignment or call that fills it.</param>
    /// <returns>Why it may never come back; null when it does, or when that cannot be known.</returns>
    public static string? WhyLost(ILocalSymbol local, IOperation acquired)
    {
        var names = new List<ILocalSymbol> { local };
        var root = acquired.Root();
        var disposes = new HashSet<IOperation>();
        for (var i = 0; i < names.Count && i < MostAliases; i++)
        {
            foreach (var reference in References(root, names[i]))
            {
                var destination = Destination.Of(reference);
                switch (destination.Fate)
                {
                    case Fate.Escapes when !IsWritten(reference):
                        return null;
                    case Fate.Using or Fate.Disposed when IsInAnotherFunction(destination.At, acquired):
                        return null;
                    case Fate.Using or Fate.Disposed:
                        disposes.Add(destination.At);
                        break;
                    case Fate.Kept when names.Contains(destination.Local!, SymbolEqualityComparer.Default):
                        break;
                    case Fate.Kept:
                        names.Add(destination.Local!);
                        break;
                }
            }
        }

        if (disposes.Count == 0)
        {
            return $"nothing disposes '{local.Name}'";
        }

        return new ReturnPath(disposes).IsSafeAfter(acquired) ? null : $"'{local.Name}' is lost when something throws or returns before it is disposed";
    }

    private static IEnumerable<ILocalReferenceOperation> References(IOperation root, ILocalSymbol local)
        => root.Descendants().OfType<ILocalReferenceOperation>().Where(reference => SymbolEqualityComparer.Default.Equals(reference.Local, local));

    private static bool IsWritten(IOperation reference)
        => reference.Parent is ISimpleAssignmentOperation assignment && assignment.Target == reference
            || reference.Parent is IDeclarationExpressionOperation
            || IsTarget(reference)
            || reference.Parent is IArgumentOperation { Parameter.RefKind: RefKind.Out };

    /// <summary>Part of what a tuple is taken apart into.</summary>
    private static bool IsTarget(IOperation reference)
    {
        var child = reference;
        while (child.Parent is ITupleOperation or IDeclarationExpressionOperation)
        {
            child = child.Parent;
        }

        return child.Parent is IDeconstructionAssignmentOperation assignment && assignment.Target == child;
    }

    private static bool IsInAnotherFunction(IOperation one, IOperation other) => one.Function() != other.Function();
}
